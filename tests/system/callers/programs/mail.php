<?php // SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
// PHP's own mail(), with the sendmail_path that Debian has built in. Arguments: to, bcc.
[, $to, $bcc] = $argv;
$headers = "From: web@box.test\r\nBcc: $bcc\r\nContent-Type: text/plain; charset=utf-8";
exit(mail($to, 'from the web', file_get_contents('/srv/body'), $headers, '-fbounces@box.test') ? 0 : 1);
