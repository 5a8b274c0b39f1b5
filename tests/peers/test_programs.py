# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Programs that people write mail with hand it to `sendmail` in their own ways, and it arrives unharmed.

Those that send it by themselves are in tests/system/callers.
"""

import os
import subprocess

import pytest

from tests.peers.server import missing, program
from tests.running import ROOT

ME = "box-me@exim.peers.test"
BODY = "Grüße\n.\nFrom here\n\n..\n".encode()
PATCHED = b".\n..\n.dot\nFrom the first\n>From\nGr\xc3\xbc\xc3\x9fe\nlong " + b"x" * 900 + b"\n\ttab \n"


@pytest.fixture
def run(environment, tmp_path):
    """run(program, *arguments, text=…): in an empty home and without a word on standard error; its output."""
    home = {**environment, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}

    def start(*command, text=b"", cwd=tmp_path):
        ended = subprocess.run(command, input=text, env=home, cwd=cwd, capture_output=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, b""), ended
        return ended.stdout

    return start


def box_at(peer, name):
    return f"box-{name}@{peer}.peers.test"


def test_what_git_send_email_sends_git_am_applies(run, peers, tmp_path):
    program("git-send-email", "git-email", "/usr/lib/git-core")
    if subprocess.run([program("perl", "perl"), "-MMail::Address", "-e", "1"], capture_output=True).returncode:
        missing("there is no Mail::Address (libmailtools-perl), without which git send-email does not start")
    git = (program("git", "git"), "-c", "user.name=Älice", "-c", f"user.email={ME}")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for repository in (ours, theirs):
        run(*git, "init", "-q", "-b", "main", str(repository))
        run(*git, "commit", "-q", "--allow-empty", "-m", "begin", cwd=repository)
    (ours / "file").write_bytes(PATCHED)
    run(*git, "add", "file", cwd=ours)
    run(*git, "commit", "-q", "-m", "Grüße: a file with everything\n\n.\nFrom me", cwd=ours)

    options = ("--sendmail-cmd=sendmail", "--confirm=never", "--quiet", "--suppress-cc=all", "-1")
    addresses = (f"--to=Bob <{box_at('postfix', 'git')}>", f"--cc={box_at('exim', 'git')}")
    run(*git, "send-email", *options, *addresses, cwd=ours)

    for peer in peers:
        (stored,) = peers[peer].mail_for(box_at(peer, "git"))
        run(*git, "am", "-q", "--whitespace=nowarn", text=stored.text, cwd=theirs)
        one, other = (run(*git, "show", "-s", "--format=%T %an %ae %B", cwd=where) for where in (ours, theirs))
        assert one == other
        run(*git, "reset", "-q", "--hard", "HEAD~", cwd=theirs)


def test_what_mutt_attaches_can_be_detached(run, peers, tmp_path):
    data = os.urandom(50_000)
    (tmp_path / "data.bin").write_bytes(data)
    settings = f'set sendmail="sendmail -oem -oi" from={ME} use_envelope_from copy=no'
    mutt = (program("mutt", "mutt"), "-n", "-F", "/dev/null", "-e", settings)
    box = box_at("postfix", "mutt")
    run(*mutt, "-s", "für Dich", "-a", "data.bin", "--", box, text=BODY)
    (stored,) = peers["postfix"].mail_for(box)
    text, attachment = stored.message.iter_parts()
    assert (stored.sender, stored.message["Subject"]) == (ME, "für Dich")
    assert text.get_content() == BODY.decode()
    assert attachment.get_content() == data


def test_mail_sends_what_it_reads_to_all_but_shows_no_bcc(run, peers):
    mail = (program("s-nail", "s-nail"), "-n", "-S", "v15-compat", "-S", f"mta={ROOT}/bin/sendmail", "-S", f"from={ME}")
    to, cc, bcc = box_at("exim", "mail"), box_at("postfix", "mail"), box_at("postfix", "mail-bcc")
    run(*mail, "-s", "für alle", "-c", cc, "-b", bcc, to, text=BODY)
    for peer, box in (("exim", to), ("postfix", cc), ("postfix", bcc)):
        (stored,) = peers[peer].mail_for(box)
        assert stored.message["Subject"] == "für alle"
        assert stored.message["Bcc"] is None
        assert stored.message.get_content() == BODY.decode()
