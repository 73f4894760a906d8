"""Tests of what ``plugins check`` finds in a plugin."""

import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import InstallDistribution
from helpers import BUILT_IN

from ignite_threenet.extensions.selection import find_plugin
from ignite_threenet.testing.check import check_plugin, expand

CHECKS = ["name", "import", "options", "construction", "run", "contract", "state", "weights"]

HEADER = """
import gc, io, logging, os, resource, shutil, signal, socket, subprocess, sys, tempfile, threading
import time
from pathlib import Path

import torch
from ignite.engine import Events
from ignite_threenet import Plugin, option
"""

# Counts epochs, and remembers them; what it does besides is filled in.
SUBJECT = '''
class Subject(Plugin):
    """Count epochs."""

    changes_training = {changes_training}

    def attach(self, run):
        self.run, self.count = run, 0
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.look)

    @torch.no_grad()
    def look(self):
        self.count += 1
        {action}

    def state_dict(self):
        return {{"count": self.count}}

    def load_state_dict(self, state):
        self.count = {restored}
'''


pytestmark = pytest.mark.usefixtures("in_haste")


@pytest.fixture(autouse=True)
def _acme_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a variable that plugins change."""
    monkeypatch.setenv("ACME_HOME", "before")


def write(source: str, path: str = "subject.py") -> str:
    Path(path).write_text(HEADER + textwrap.dedent(source))
    return path


def subject(
    action: str = "", *, changes_training: bool = False, restored: str = 'state["count"]'
) -> str:
    return SUBJECT.format(action=action, changes_training=changes_training, restored=restored)


def findings(word: str, last: str = CHECKS[-1]) -> dict[str, str]:
    """Give the problems by check, and "" for those that found none.

    The checks are made one after another as they are asked for: none after the last one.
    """
    found = {}
    for each in check_plugin(word):
        found[each.check] = "; ".join(each.problems)
        if each.check == last:
            break
    return found


def only_problem(word: str, last: str = CHECKS[-1]) -> tuple[str, str]:
    """Give the one check that failed, with its problem."""
    failed = {check: problem for check, problem in findings(word, last).items() if problem}
    assert len(failed) == 1, failed
    return failed.popitem()


# Plugins in order


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_plugin_passes(name: str) -> None:
    # What follows is checked of all of them in tests/run/test_verify.py and tests/plugins.
    assert findings(name, last="contract") == dict.fromkeys(
        ["name", "import", "options", "run", "contract"], ""
    )


def test_a_passed_check_is_a_line_with_what_was_seen_and_leaves_no_file() -> None:
    write(subject())
    origin = find_plugin("subject.py").origin

    lines = [finding.format() for finding in check_plugin("subject.py")]

    assert lines[0] == "ok      name: ok"
    assert lines[1].startswith(f"ok      import: ok ({origin}, 0.")
    assert lines[3:] == [
        "ok      run: ok (two batches of each split)",
        "ok      contract: ok",
        "ok      state: ok (stopped and resumed)",
        "ok      weights: ok (the same with it and without it)",
    ]
    assert list(Path().iterdir()) == [Path("subject.py")]


def test_a_plugin_that_says_that_it_changes_the_training_may_do_so() -> None:
    action = "next(self.run.model.parameters()).add_(0.01)"
    write(subject(action, changes_training=True))

    *_, last = check_plugin("subject.py")

    assert last.format() == "ok      weights: ok (it says that it changes the training)"


def test_a_name_that_is_also_an_option_of_the_run_is_no_clash() -> None:
    source = '''
        class Subject(Plugin):
            """Warm up."""

            epochs: int = option(3, help="epochs of warming up", min=1)
    '''

    assert findings(write(source), last="options")["options"] == ""


# Names


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    check, problem = only_problem("bset")

    assert check == "name"
    assert problem.startswith("unknown plugin 'bset'; did you mean 'best'? Installed: ")


def test_a_file_that_does_not_exist_is_unknown() -> None:
    assert findings("./absent.py") == {"name": "unknown plugin file './absent.py'."}


def test_a_clash_names_both_distributions(install_distribution: InstallDistribution) -> None:
    for distribution in ("acme-one", "acme-two"):
        install_distribution(distribution, {"twin": "check_twin:Twin"}, {})

    assert findings("twin") == {
        "name": "plugin 'twin' comes from several distributions: acme-one 1.0 and acme-two 1.0; "
        "uninstall all but one"
    }


def test_a_file_whose_name_can_be_no_flag_is_told() -> None:
    write(subject(), "my subject.py")

    check, problem = only_problem("my subject.py")

    assert check == "construction"
    assert problem == "plugin 'my subject' cannot be a name (letters, digits, -_.); use NAME=FILE"


# Broken plugins


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "import acme_absent",
            "cannot be imported from subject.py: "
            "ModuleNotFoundError: No module named 'acme_absent'",
        ),
        (
            "class Subject(",
            "cannot be imported from subject.py: "
            "SyntaxError: '(' was never closed (subject.py, line 9)",
        ),
        (
            "class Subject(Plugin):\n    depth: set = option({1}, help='levels')",
            "cannot be imported from subject.py: TypeError: Subject.depth: the default {1} could "
            "be changed by whoever uses it; give a tuple",
        ),
        ("class Subject: ...", "holds no class that is a subclass of ignite_threenet.Plugin"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_checked_no_further(source: str, problem: str) -> None:
    word = write(source)

    found = findings(word)

    assert found == {
        "name": "",
        "import": f"plugin 'subject' ({find_plugin(word).origin}) {problem}",
    }


@pytest.mark.parametrize("api", [0, 2])
def test_a_plugin_of_another_interface_is_told_both_versions(api: int) -> None:
    check, problem = only_problem(write(f"class Subject(Plugin):\n    api = {api}"))

    assert check == "import"
    assert f"was written for version {api} of the plugins' interface" in problem
    assert "has version 1" in problem


def test_a_slow_import_is_no_failure_and_told_what_to_do() -> None:
    write(f"import time\ntime.sleep(1.1)\n{subject()}")

    finding = next(each for each in check_plugin("subject.py") if each.check == "import")

    assert not finding.problems
    assert "; slow: import what is heavy where it is used, not at the top" in finding.note


def test_an_option_without_help_is_named() -> None:
    source = "class Subject(Plugin):\n    depth: int = option(1, help='')"

    problem = findings(write(source), last="options")["options"]

    assert problem == "'depth' has no help; say what it does, and its unit"


def test_an_option_that_shares_an_environment_variable_with_the_run_is_named() -> None:
    source = "class Data(Plugin):\n    dir: str = option('', help='where')"

    problem = findings(write(source, "data.py"), last="options")["options"]

    assert problem == "'dir' is taken for the run's option 'data_dir'; choose another name"


@pytest.mark.parametrize(
    ("raised", "problem"),
    [
        (
            "ValueError('no display')",
            "plugin 'subject' ({origin}) refuses its options: ValueError: no display",
        ),
        ("SystemExit(3)", "plugin 'subject' ({origin}) refuses its options: SystemExit: 3"),
    ],
)
def test_a_plugin_that_cannot_be_made_is_checked_no_further(raised: str, problem: str) -> None:
    word = write(f"class Subject(Plugin):\n    def __post_init__(self):\n        raise {raised}")

    found = findings(word)

    assert list(found) == ["name", "import", "options", "construction"]
    assert found["construction"] == problem.format(origin=find_plugin(word).origin)


def test_a_requirement_that_is_not_installed_is_named() -> None:
    check, problem = only_problem(write("class Subject(Plugin):\n    requires = ('acuracy',)"))

    assert check == "construction"
    assert problem.startswith(
        "plugin 'subject' requires another: unknown plugin 'acuracy'; did you mean 'accuracy'?"
    )


def test_a_plugin_that_fails_is_told_where() -> None:
    word = write(subject("raise ValueError('worn out')"))

    check, problem = only_problem(word)

    assert check == "run"
    assert problem == (
        f"PluginFailedError: plugin 'subject' ({find_plugin(word).origin}) failed at "
        "EPOCH_COMPLETED, epoch 1: ValueError: worn out"
    )


def test_a_plugin_that_would_be_detached_fails_the_check_too() -> None:
    source = subject("raise ValueError('worn out')").replace(
        "changes_training", "on_error = 'detach'; changes_training"
    )

    assert only_problem(write(source))[0] == "run"


def test_a_plugin_that_fails_later_fails_what_runs_longer() -> None:
    action = "if self.count == 2: raise ValueError('worn out')"

    found = findings(write(subject(action)))

    failed = [check for check, problem in found.items() if "ValueError: worn out" in problem]
    assert failed == ["contract", "state", "weights"]


def test_a_plugin_that_asks_for_what_the_small_run_has_not_is_told_so() -> None:
    source = """
        from ignite_threenet import ConfigError

        class Subject(Plugin):
            def attach(self, run):
                raise ConfigError("subject: wants a network with a decoder")
    """

    *_, last = check_plugin(write(source))

    assert last.format() == (
        "FAILED  run: ConfigError: subject: wants a network with a decoder "
        "(it asks for what this small run does not have)"
    )


# Leaks


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        (
            "logging.getLogger('ignite_threenet').addHandler(logging.NullHandler())",
            "leaves a logging handler behind; remove it in close()",
        ),
        (
            "logging.getLogger().addHandler(logging.NullHandler())",
            "leaves a logging handler behind; remove it in close()",
        ),
        (
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
            "leaves a signal handler behind; put the old one back in close()",
        ),
        (
            "torch.set_default_dtype(torch.float64)",
            "changes torch's default dtype; put it back in close()",
        ),
        ("os.chdir('/')", "changes the current directory; leave it alone"),
        (
            "os.environ['ACME_HOME'] = 'after'",
            "changes environment variables (ACME_HOME); leave them alone",
        ),
        (
            "del os.environ['ACME_HOME']",
            "changes environment variables (ACME_HOME); leave them alone",
        ),
        (
            "sys.stderr = io.StringIO()",
            "replaces standard output or error; put it back in close()",
        ),
        (
            "self.run.model[1].register_forward_hook(print)",
            "leaves a hook on the model; remove it in close()",
        ),
        (
            "self.run.model.register_full_backward_hook(lambda *args: None)",
            "leaves a hook on the model; remove it in close()",
        ),
        (
            "self.run.optimizer.register_step_pre_hook(lambda *args: None)",
            "leaves a step pre-hook of the optimizer behind; remove it in close()",
        ),
        (
            "self.run.model[1].weight.register_hook(print)",
            "leaves a gradient hook of 1.weight behind; remove it in close()",
        ),
        (
            "sys.modules['torch.optim.optimizer'].register_optimizer_step_post_hook(print)",
            "leaves a step post-hook of all optimizers behind; remove it in close()",
        ),
        (
            "torch.set_num_threads(torch.get_num_threads() + 1)",
            "changes torch's number of threads (",
        ),
        (
            "torch.use_deterministic_algorithms(True)",
            "changes torch's deterministic algorithms ((False, False) -> (True, False)); put it",
        ),
        ("torch.autograd.set_detect_anomaly(True)", "changes torch's anomaly detection (False"),
        ("signal.signal(signal.SIGUSR1, print)", "leaves a signal handler behind; put the old"),
        ("signal.setitimer(signal.ITIMER_REAL, 999)", "changes the timers ([] -> ['ITIMER_REAL'])"),
        ("os.umask(0o077)", "changes the umask ("),
        (
            "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
            "changes the resource limits (RLIMIT_CORE: ",
        ),
        ("gc.disable()", "changes the garbage collector ("),
        ("logging.disable()", "changes the level of logging ("),
        ("sys.stdout.close()", "replaces standard output or error; put it back in close()"),
        ("os.close(2)", "replaces standard output or error; put it back in close()"),
        (
            "subprocess.Popen(['sleep', '99'], start_new_session=True)",
            "leaves a process running (sleep 99); end it in close()",
        ),
        ("os.fork() or time.sleep(99)", "leaves a process running ("),
        (
            "threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
            "leaves a thread running; end it in close()",
        ),
        (
            "torch.relu = torch.sigmoid",
            "puts another function in place of torch.relu; put the old one back in close()",
        ),
        (
            "torch.nn.Linear.forward = lambda self, x: x @ self.weight.T",
            "puts another function in place of torch.nn.modules.linear.Linear.forward; put",
        ),
        (
            "type(self.run.trainer).abandon = lambda *args: None",
            "puts another function in place of "
            "ignite_threenet.training.tracked_engine.TrackedEngine.abandon; put",
        ),
        ("os.system(f'touch {Path.home()}/stray.txt')", "leaves behind "),
        ("os.system('touch stray.txt')", "leaves behind "),
        ("Path(tempfile.gettempdir(), 'stray.txt').write_text('x')", "leaves behind "),
        ("tempfile.mkdtemp()", "leaves behind "),
        ("os.system('rm subject.py')", "removes "),
        ("os.remove('subject.py')", "removes "),
        ("os.system('echo >> subject.py')", "changes "),
    ],
)
def test_what_a_plugin_leaves_behind_is_told_with_what_to_do(action: str, problem: str) -> None:
    check, found = only_problem(write(subject(action)))

    assert check == "run"
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "action",
    [
        "Path('stray.txt').write_text('x')",
        "Path('stray.txt').open('a').close()",
        "os.close(os.open('stray.txt', os.O_CREAT))",
    ],
)
def test_a_file_outside_of_the_runs_directory_is_named(action: str, tmp_path: Path) -> None:
    check, problem = only_problem(write(subject(action)))

    assert check == "run"
    assert problem == (
        f"writes {tmp_path / 'stray.txt'} outside of the run's directory; use run.directory.write()"
    )


@pytest.mark.parametrize(
    "action",
    [
        "self.run.directory.write('notes.txt', b'x')",
        "Path('subject.py').read_text()",
        "Path(os.devnull).write_text('x')",
    ],
)
def test_a_file_that_a_plugin_may_open_is_no_problem(action: str) -> None:
    assert findings(write(subject(action)), last="run")["run"] == ""


def test_what_a_plugin_puts_back_in_close_is_no_leak() -> None:
    source = """
        class Subject(Plugin):
            '''Watch the model.'''

            def attach(self, run):
                self.hook = run.model.register_forward_hook(lambda *args: None)
                os.environ["ACME_HOME"] = "after"

            def close(self, error):
                self.hook.remove()
                os.environ["ACME_HOME"] = "before"
    """

    assert findings(write(source), last="run")["run"] == ""


def test_a_patch_that_breaks_the_run_is_told_too() -> None:
    _, problem = only_problem(write(subject("torch.nn.Linear.forward = lambda *args: None")))

    assert problem.endswith(
        "puts another function in place of torch.nn.modules.linear.Linear.forward; "
        "put the old one back in close()"
    )


def test_all_that_a_plugin_leaves_is_told_at_once() -> None:
    action = "os.environ['ACME_HOME'] = 'after'; self.run.model.register_forward_hook(print)"

    check, problem = only_problem(write(subject(action)))

    assert check == "run"
    assert problem == (
        "changes environment variables (ACME_HOME); leave them alone; "
        "leaves a hook on the model; remove it in close()"
    )


def test_a_thread_left_running_is_told_and_not_waited_for() -> None:
    write(subject("threading.Thread(target=threading.Event().wait).start()"))
    command = [sys.executable, "-m", "ignite_threenet.testing.check", "subject.py"]

    result = subprocess.run(command, capture_output=True, text=True, timeout=300)

    assert result.stdout.splitlines()[-1] == (
        "  FAILED  run: leaves a thread running; end it in close() (two batches of each split)"
    )
    assert result.returncode == 1


# Promises


def test_a_missing_docstring_is_told() -> None:
    word = write(subject().replace('"""Count epochs."""', ""))

    assert only_problem(word, last="contract") == (
        "contract",
        "Subject has no docstring, so nobody learns from 'plugins list' what it does",
    )


def test_a_state_that_cannot_be_saved_is_told() -> None:
    word = write(subject().replace('{"count": self.count}', '{"count": {self.count}}'))

    found = findings(word)

    assert "state_dict(): count: is a set; expected a plain value or a tensor" in found["run"]


def test_a_forgetful_plugin_is_told_what_it_forgot() -> None:
    assert only_problem(write(subject(restored="0"))) == (
        "state",
        "the resumed run differs: plugin subject: count: 3 and 1; see Plugin.state_dict()",
    )


def test_a_plugin_that_says_it_observes_and_changes_weights_is_told() -> None:
    check, problem = only_problem(write(subject("torch.rand(1)")))

    assert check == "weights"
    assert problem.startswith("training ends with other weights: tiny.1.weight")
    assert problem.endswith("; say changes_training = True, or do not touch what training uses")


def test_checking_leaves_no_file_where_it_runs() -> None:
    write(subject())

    findings("subject.py")

    assert list(Path().iterdir()) == [Path("subject.py")]


# Data


def test_a_plugin_for_images_is_tried_on_images_and_told_so() -> None:
    action = "n, c, h, w = self.run.trainer.state.batch[0].shape"

    found = list(check_plugin(write(subject(action))))

    assert [each.problems for each in found] == [[]] * 7
    (note,) = (each.note for each in found if each.check == "run")
    assert note.startswith(
        "two batches of each split, images of 1 x 28 x 28; on rows of 784 numbers it fails: "
    )
    assert note.endswith("ValueError: not enough values to unpack (expected 4, got 2)")


def test_each_plugin_of_a_file_is_checked() -> None:
    source = "class One(Plugin):\n    'One.'\nclass Two(Plugin):\n    'Two.'\n"

    words = expand(write(source))

    assert words == ["subject.py:One", "subject.py:Two"]
    assert [findings(word)["run"] for word in words] == ["", ""]
    assert expand("subject.py:One") == ["subject.py:One"]
    assert expand("best") == ["best"]


# What ends, or blocks, its process

BREAKING = """
class Subject(Plugin):
    def __post_init__(self):
        self.at("construction")

    def attach(self, run):
        self.at("attach")
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.at, "EPOCH_COMPLETED")

    def close(self, error):
        self.at("close")

    def at(self, where):
        if where == WHERE:
            ACTION

Subject.at(None, "import")
"""


@pytest.mark.parametrize(
    ("where", "check", "place"),
    [
        ("import", "import", "import"),
        ("construction", "construction", "construction"),
        ("attach", "run", "attach of plugin 'subject'"),
        ("EPOCH_COMPLETED", "run", "run (EPOCH_COMPLETED of plugin 'subject')"),
        ("close", "run", "close of plugin 'subject'"),
    ],
)
@pytest.mark.parametrize(
    ("action", "problem"),
    [
        ("os._exit(0)", "ends the process with exit code 0 in {}, before it was done; leave os._e"),
        ("os.kill(os.getpid(), 9)", "ends the process by SIGKILL in {}, before it was done"),
        ("os.closerange(3, 99); os._exit(0)", "ends the process with exit code 0 in {}, before"),
        ("os.fork() or time.sleep(99); time.sleep(99)", "takes more than 2 s in {}"),
    ],
)
def test_a_plugin_that_ends_or_blocks_its_process_is_told_where(
    where: str, check: str, place: str, action: str, problem: str
) -> None:
    source = BREAKING.replace("WHERE", repr(where)).replace("ACTION", action)

    *_, last = check_plugin(write(source), timeout_s=2)

    assert last.check == check
    assert "; ".join(last.problems).startswith(problem.format(place))


# Functions of torch's


@pytest.mark.parametrize("place", ["torch.nn.functional.log_softmax", "torch.nn.Dropout.forward"])
def test_what_a_plugin_puts_into_torch_and_takes_out_again_shows_in_the_weights(place: str) -> None:
    module, _, name = place.rpartition(".")
    source = f"""
        class Subject(Plugin):
            '''Patch.'''

            def attach(self, run):
                self.old = {place}
                {module}.{name} = lambda *args, **kwargs: self.old(*args) * 1.5

            def close(self, error):
                {module}.{name} = self.old
    """
    source = source.replace("self.old(*args)", "self.old(*args, **kwargs)")

    problem = findings(write(source))["weights"]

    assert problem.startswith("training ends with other weights: ")


# The network


@pytest.mark.parametrize(
    "action",
    [
        "socket.create_connection(('acme.invalid', 80))",
        "socket.socket().connect(('192.0.2.1', 80))",
        "socket.socket().connect_ex(('192.0.2.1', 80))",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 80))",
        "socket.create_connection(('localhost', 80))",
    ],
)
@pytest.mark.parametrize("survives", [False, True])
def test_a_connection_is_refused_and_told(action: str, survives: bool) -> None:
    if survives:
        guarded = f"try: {action}\nexcept OSError: pass"
        action = f"exec({guarded!r})"

    found = findings(write(subject(action)))

    assert found["network"].startswith("opens a network connection to ")
    assert found["network"].endswith(":80, which is refused in the check")
    assert ("which is refused in the check" in found["run"]) is not survives


def test_a_program_that_is_started_has_no_network() -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', %d), timeout=5)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        words = f"[sys.executable, '-c', {code % server.getsockname()[1]!r}]"
        assert findings(write(subject(f"subprocess.run({words}, stderr=-3)")))["run"] == ""
        with pytest.raises(TimeoutError):
            server.accept()


def test_the_network_may_be_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        address = server.getsockname()
        action = f"socket.create_connection({address!r}).close()"
        found = list(check_plugin(write(subject(action)), allows_network=True))

    assert [each.problems for each in found] == [[]] * 7


# Extras

EXTRA = """Metadata-Version: 2.1
Name: acme
Version: 1.0
Provides-Extra: cloud
Requires-Dist: acme-absent>=1; extra == "cloud"
"""


@pytest.mark.parametrize(
    ("source", "check"),
    [
        ("import acme_absent\n", "import"),
        ("class Subject(Plugin):\n    def attach(self, run):\n        import acme_absent\n", "run"),
    ],
)
def test_a_plugin_whose_extra_is_missing_is_skipped_with_what_to_do(
    install_distribution: InstallDistribution, source: str, check: str
) -> None:
    site = install_distribution("acme", {"cloudy": "acme_cloudy:Subject"}, {})
    Path(site, "acme_cloudy.py").write_text(HEADER + source)
    (info,) = site.glob("*.dist-info")
    (info / "METADATA").write_text(EXTRA)

    *_, last = check_plugin("cloudy")

    assert last.format() == f"skipped  {check}: needs acme-absent: pip install 'acme[cloud]'"
    assert not last.problems
