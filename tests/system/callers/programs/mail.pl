# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
# Email::Sender finds its sendmail by itself. Arguments: to, bcc.
use strict;
use warnings;
use Email::Sender::Simple qw(try_to_sendmail);
use Email::Sender::Transport::Sendmail;
use Email::Simple;

my ($to, $bcc) = @ARGV;
open my $file, '<:raw', '/srv/body' or die $!;
my $body = do { local $/; <$file> };
my $email = Email::Simple->create(
    header => [From => 'perl@box.test', To => $to, Bcc => $bcc, Subject => 'from perl', Date => 'Mon, 2 Jan 2023 03:04:05 +0000'],
    body => $body,
);
my $envelope = {from => 'bounces@box.test', to => [$to, $bcc], transport => Email::Sender::Transport::Sendmail->new};
exit(try_to_sendmail($email, $envelope) ? 0 : 1);
