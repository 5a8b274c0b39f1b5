<?php // SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
// Symfony's Mailer. Arguments: its DSN, to, bcc; the last is left out for a text that is handed on as it is.
require 'Symfony/Component/Mailer/autoload.php';
use Symfony\Component\Mailer\{Envelope, Mailer, Transport};
use Symfony\Component\Mime\{Address, Email, RawMessage};

[, $dsn, $to, $bcc] = [...$argv, null];
$body = file_get_contents('/srv/body');
$mailer = new Mailer(Transport::fromDsn($dsn));
try {
    if ($bcc) {
        $mailer->send((new Email())->from('web@box.test')->to($to)->bcc($bcc)->subject('für alle')->text($body));
    } else {
        $text = str_replace("\n", "\r\n", "Subject: raw\nTo: $to\n\n" . rtrim($body));
        $mailer->send(new RawMessage($text), new Envelope(new Address('web@box.test'), [new Address($to)]));
    }
} catch (Symfony\Component\Mailer\Exception\TransportException $error) {
    echo get_debug_type($error), ': ', $error->getMessage();
    exit(1);
}
