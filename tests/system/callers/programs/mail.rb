# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
# The gem mail, which Rails sends with. Arguments: to, bcc.
require 'mail'

Mail.defaults { delivery_method :sendmail }
Mail.deliver do
  from 'rails@box.test'
  to ARGV[0]
  bcc ARGV[1]
  subject 'für alle'
  self.charset = 'UTF-8'
  body File.read('/srv/body')
end
