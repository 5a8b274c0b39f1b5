// SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
// Nodemailer's sendmail transport. Arguments: newline, to, bcc; the last is left out for a text that is sent as it is.
const nodemailer = require('nodemailer');

const [newline, to, bcc] = process.argv.slice(2);
const text = require('fs').readFileSync('/srv/body');
const raw = Buffer.concat([Buffer.from(`Subject: raw\nTo: ${to}\n\n`), text]);
const mail = bcc
    ? {from: 'node@box.test', to, bcc, subject: 'für alle', text}
    : {raw, envelope: {from: 'node@box.test', to}};
nodemailer.createTransport({sendmail: true, newline}).sendMail(mail, (error) => {
    if (error) console.log(error.message);
    process.exit(error ? 1 : 0);
});
