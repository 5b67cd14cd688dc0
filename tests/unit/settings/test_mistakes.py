"""Each kind of wrong configuration has one clear message, at the place where it was written."""

from dataclasses import dataclass

import pytest

from tests.unit.settings.conftest import Load, Write, Wrong

RECEIVER = "receivers: {ci: {url: 'https://ci.example.com/'}}\n"


@dataclass(frozen=True)
class Case:
    """A wrong file, and every line that tells why, each after the file's name."""

    text: str
    told: str


SECTIONS = (
    "include, server, storage, polling, forges, receivers, defaults, repositories, discover,"
    " security, logging, alerts"
)

CASES = {
    "empty": Case(
        "# nothing yet\n",
        "1:1: is empty; «reposentry config show --defaults» prints what may stand in it",
    ),
    "not a mapping": Case(
        "- url: x\n",
        "1:1: must hold settings, each on a line of its own as «name: value»",
    ),
    "a list that is not closed": Case(
        "repositories: [\n", "1:15: the [ that begins here is not closed"
    ),
    "a mapping that is not closed": Case(
        "server: {threads: 8\npolling:\n", "1:9: the { that begins here is not closed"
    ),
    "a quote that is not closed": Case(
        "server:\n  listen: '127.0.0.1:80\n", "2:11: the quote that begins here is not closed"
    ),
    "a tab": Case("server:\n\tthreads: 8\n", "2:1: a tab cannot indent YAML; use spaces"),
    "indentation": Case(
        "polling:\n  workers: 8\n timeout: 5s\n",
        "3:2: the indentation does not fit what stands above",
    ),
    "a colon in a value": Case(
        "server: listen: x\n",
        "1:15: a colon is not expected here; quote the value, or mend the indentation",
    ),
    "a bare asterisk": Case(
        "defaults:\n  branches: [*]\n",
        '2:14: quote what begins with an asterisk: "*"',
    ),
    "a bare glob": Case(
        "defaults:\n  tags:\n    - *-rc\n",
        '3:7: nothing above is named &-rc; if it is a pattern, write "*-rc"',
    ),
    "a bare exclamation mark": Case(
        "defaults:\n  branches:\n    - main\n    - !wip\n",
        '4:7: quote what begins with an exclamation mark: "!wip"',
    ),
    "a reserved character": Case("server: @here\n", "1:9: quote what begins with @"),
    "a Python object": Case(
        "server:\n  public_url: !!python/object/apply:os.system [ls]\n",
        "2:3: server.public_url: must be one value, not a list\n"
        "2:15: !!python/object/apply:os.system is not allowed; write the value alone",
    ),
    "two documents": Case(
        "polling: {workers: 8}\n---\npolling: {workers: 9}\n",
        "2:1: one file holds one document; remove this line and what follows",
    ),
    "a control character": Case(
        "server: \x07\n", "1:9: the character U+0007 is not allowed in YAML"
    ),
    "a key twice": Case(
        "polling:\n  workers: 8\n  timeout: 5s\n  workers: 9\n",
        "4:3: workers is here twice; the first is on line 2",
    ),
    "an unknown section": Case(
        "reciever: {}\n", "1:1: reciever: there is no such setting; did you mean receivers?"
    ),
    "an unknown section like none": Case(
        "zzz: {}\n", f"1:1: zzz: there is no such setting; here belong {SECTIONS}"
    ),
    "an unknown key": Case(
        "polling:\n  intervall: 15s\n",
        "2:3: polling.intervall: there is no such setting; did you mean interval?",
    ),
    "no unit": Case(
        "polling: {interval: 15}\n",
        "1:21: polling.interval: «15» has no unit; write 15s, 15m or 15h",
    ),
    "no duration": Case(
        "polling: {interval: soon}\n",
        "1:21: polling.interval: «soon» is not a duration; write 500ms, 15s, 10m, 8h, 30d or 1h30m",
    ),
    "too short": Case(
        "storage: {retention: 5m}\n",
        "1:22: storage.retention: «5m» is too short; the least is 1h",
    ),
    "out of range": Case(
        "polling: {workers: 0}\n",
        "1:20: polling.workers: «0» is not a whole number of 1 to 1000",
    ),
    "no number": Case(
        "polling: {workers: many}\n",
        "1:20: polling.workers: «many» is not a whole number of 1 to 1000",
    ),
    "no choice": Case(
        "logging: {level: warn}\n",
        "1:18: logging.level: «warn» is not one of debug, info, warning, error;"
        " did you mean warning?",
    ),
    "neither yes nor no": Case(
        "security: {require_https: maybe}\n",
        "1:27: security.require_https: «maybe» is neither true nor false",
    ),
    "no percentage": Case(
        "forges: {github: {share: 0.8}}\n",
        "1:26: forges.github.share: «0.8» is not a percentage of 1% to 100%; write 80%",
    ),
    "no objective": Case(
        "polling: {objective: 30s}\n",
        "1:22: polling.objective: «30s» is not an objective; write 30s for 95%",
    ),
    "no rate": Case(
        "receivers: {ci: {url: 'https://ci.example.com/', rate: 5}}\n",
        "1:56: receivers.ci.rate: «5» is not a rate; write 5/s, 30/m or 100/h",
    ),
    "no secret to be confirmed with": Case(
        "receivers: {ci: {url: 'https://ci.example.com/', confirm: tekton}}\n",
        "1:13: receivers.ci.secret: is missing; confirm needs it for its address",
    ),
    "no address": Case(
        "server: {listen: 8080}\n",
        "1:18: server.listen: «8080» is not HOST:PORT; write 127.0.0.1:8080, or [::]:8080 for"
        " everywhere",
    ),
    "no status": Case(
        "receivers: {ci: {url: 'https://ci.example.com/', expect: 404}}\n",
        "1:58: receivers.ci.expect: «404» is neither 2xx nor one status such as 202",
    ),
    "a list for a value": Case(
        "polling:\n  workers: [8]\n", "2:3: polling.workers: must be one value, not a list"
    ),
    "a value for a list": Case(
        "defaults: {branches: main}\n",
        "1:22: defaults.branches: must be a list; write [main]",
    ),
    "a value for a section": Case(
        "polling: fast\n",
        "1:10: polling: must hold settings, each on a line of its own as «name: value»",
    ),
    "an empty value": Case(
        "polling:\n  interval:\n",
        "2:3: polling.interval: must not be empty; leave the line out to have the default",
    ),
    "an empty entry": Case(
        "receivers:\n  ci:\n", "2:3: receivers.ci: is empty; write its settings below"
    ),
    "a receiver without URL": Case(
        "receivers:\n  ci: {payload: github}\n", "2:3: receivers.ci.url: is missing"
    ),
    "a receiver that is no URL": Case(
        "receivers: {ci: {url: ci.example.com}}\n",
        "1:23: receivers.ci.url: «ci.example.com» is not a URL; write https://HOST/PATH",
    ),
    "credentials in a receiver's URL": Case(
        "receivers: {ci: {url: 'https://bob:s3cret@ci.example.com/'}}\n",
        "1:23: receivers.ci.url: «https://••••••@ci.example.com/» holds credentials; name them"
        " in a secret, token or header instead",
    ),
    "an unencrypted receiver": Case(
        "receivers: {ci: {url: 'http://ci.example.com/'}}\n",
        "1:23: receivers.ci.url: http://ci.example.com is not encrypted; write https, or add"
        " ci.example.com to security.allow_http",
    ),
    "a name that cannot stand in a URL": Case(
        "receivers: {ci/2: {url: 'https://ci.example.com/'}}\n",
        "1:13: receivers.ci/2: «ci/2» is not a name; take letters, digits and . _ -",
    ),
    "a header that is ours": Case(
        "receivers: {ci: {url: 'https://x.io/', headers: {Content-Type: text/plain}}}\n",
        "1:50: receivers.ci.headers.Content-Type: is set by the payload, unless that is a"
        " template; leave it out",
    ),
    "a header that HTTP sets": Case(
        "receivers: {ci: {url: 'https://x.io/', headers: {Host: x}}}\n",
        "1:50: receivers.ci.headers.Host: «Host» is set by the delivery itself; leave it out",
    ),
    "a header of two lines": Case(
        'receivers: {ci: {url: "https://x.io/", headers: {X-A: "b\\r\\nX-Evil: c"}}}\n',
        "1:55: receivers.ci.headers.X-A: the value holds a line break or another control character",
    ),
    "half a client certificate": Case(
        "receivers:\n  ci: {url: 'https://x.io/', client_cert_file: reposentry.yaml}\n",
        "2:3: receivers.ci.client_key_file: is missing; client_cert_file needs it",
    ),
    "a file that is not there": Case(
        "forges: {github: {ca_file: nowhere.pem}}\n",
        "1:28: forges.github.ca_file: «nowhere.pem» is not a file that is there",
    ),
    "retries the wrong way round": Case(
        "receivers: {ci: {url: 'https://x.io/', retry: {first: 1h, longest: 1m}}}\n",
        "1:68: receivers.ci.retry.longest: longest is shorter than first (1h)",
    ),
    "a template that is not there": Case(
        "receivers:\n  ci: {url: 'https://x.io/', payload: template, template: x.j2}\n",
        "2:59: receivers.ci.template: «x.j2» cannot be read: No such file or directory",
    ),
    "a template for another payload": Case(
        "receivers:\n  ci: {url: 'https://x.io/', template: reposentry.yaml}\n",
        "2:40: receivers.ci.template: goes with payload: template, and only with it",
    ),
    "no template": Case(
        "receivers:\n  ci: {url: 'https://x.io/', payload: template}\n",
        "2:3: receivers.ci.template: is missing; payload: template needs its file",
    ),
    "a secret that no header can show": Case(
        "receivers:\n  ci: {url: 'https://x.io/', payload: gitlab, secret: schlüssel}\n",
        "2:55: receivers.ci.secret: cannot be sent as X-Gitlab-Token; take ASCII letters, digits"
        " and signs",
    ),
    "a receiver that wants nothing": Case(
        "receivers:\n  ci: {url: 'https://x.io/', branches: [], tags: []}\n",
        "2:30: receivers.ci.branches: watches neither branches nor tags",
    ),
    "a receiver that only takes out": Case(
        "receivers:\n  ci: {url: 'https://x.io/', branches: ['!wip']}\n",
        '2:30: receivers.ci.branches: only takes out; begin with what to watch, such as "*"',
    ),
    "a secret and its file": Case(
        "receivers:\n  ci: {url: 'https://x.io/', secret: a, secret_file: reposentry.yaml}\n",
        "2:54: receivers.ci.secret_file: secret and secret_file are both given; keep one",
    ),
    "a secret file that is not there": Case(
        "forges: {github: {token_file: nowhere}}\n",
        "1:31: forges.github.token_file: «nowhere» cannot be read: No such file or directory",
    ),
    "a variable that is not set": Case(
        "forges: {github: {token: '${NOPE}'}}\n",
        "1:26: forges.github.token: the environment variable NOPE is not set; set it, or"
        " write ${NOPE:-} to allow that",
    ),
    "a variable that is not one": Case(
        "forges: {github: {token: '${1}'}}\n",
        "1:26: forges.github.token: ${ begins no variable here; write ${NAME}, or $${ for"
        " the text itself",
    ),
    "a forge of no kind": Case(
        "forges: {work: {url: 'https://git.example.com'}}\n",
        "1:10: forges.work.kind: is missing; write github, gitlab, gitea, gogs, bitbucket,"
        " bitbucket-server, azure or git",
    ),
    "a Bitbucket of one's own": Case(
        "forges: {bitbucket: {url: 'https://stash.example.com'}}\n",
        "1:27: forges.bitbucket.url: https://stash.example.com is not Bitbucket Cloud; write kind:"
        " bitbucket-server for a server of your own",
    ),
    "a user name that nobody asks for": Case(
        "forges: {github: {username: ada, token: abc}}\n",
        "1:29: forges.github.username: has no use with github, which knows whose token it is;"
        " leave it out",
    ),
    "a user name without a token": Case(
        "forges: {bitbucket: {username: ada}}\n",
        "1:32: forges.bitbucket.username: goes with a token or password; write that as token",
    ),
    "a webhook's secret where none is taken": Case(
        "forges: {azure: {hook_secret: abc}}\n",
        "1:18: forges.azure.hook_secret: has no use with azure, whose webhooks are not taken;"
        " leave it out",
    ),
    "a forge without URL": Case(
        "forges: {gitea: {}}\n",
        "1:10: forges.gitea.url: is missing; write the server's https://HOST",
    ),
    "two forges in one place": Case(
        "forges:\n  github: {}\n  mine: {kind: github, url: 'https://github.com/'}\n",
        "3:29: forges.mine.url: https://github.com is already the forge github (FILE:2)",
    ),
    "a forge named like plain git": Case(
        "forges: {git: {kind: git, url: 'https://git.example.com'}}\n",
        "1:10: forges.git: is what plain git servers are called; take another name",
    ),
    "a repository without URL": Case(
        "repositories:\n  - name: x\n", "2:5: repositories[0].url: is missing"
    ),
    "an address that git does not know": Case(
        "repositories:\n  - url: ftp://example.com/a\n",
        "2:10: repositories[0].url: «ftp://example.com/a» is not a repository's address:"
        " ftp:// is not supported; use https, http, ssh, git or file",
    ),
    "an address without https": Case(
        "repositories:\n  - url: github.com/tektoncd/pipeline\n",
        "2:10: repositories[0].url: «github.com/tektoncd/pipeline» is no folder here; for a"
        " server write https://github.com/tektoncd/pipeline",
    ),
    "a repository twice": Case(
        "repositories:\n  - url: https://x.io/a\n  - {url: 'https://x.io/a.git', name: b}\n",
        "3:11: repositories[1].url: https://x.io/a.git is watched already (FILE:2)",
    ),
    "a name twice": Case(
        "repositories:\n  - url: https://x.io/a/b\n  - url: https://y.io/a/b\n",
        "3:10: repositories[1].url: a/b is already the name of another (FILE:2); give it its own",
    ),
    "a name that ends as the API's addresses do": Case(
        "repositories:\n  - url: https://x.io/a/refs\n",
        "2:10: repositories[0].url: a/refs cannot be its name: refs, explain, poll, pause,"
        " resume end addresses of the API; give it another",
    ),
    "a receiver that nobody knows": Case(
        RECEIVER + "repositories:\n  - {url: 'https://x.io/a', receivers: [cii]}\n",
        "3:41: repositories[0].receivers[0]: there is no receiver cii; did you mean ci?",
    ),
    "a forge that nobody knows": Case(
        "discover:\n  - {forge: githob, owner: acme}\n",
        "2:13: discover[0].forge: there is no forge githob; did you mean github?",
    ),
    "a pattern that does not compile": Case(
        "repositories:\n  - {url: 'https://x.io/a', branches: [main, '/(/']}\n",
        "2:46: repositories[0].branches[1]: «/(/» is not a valid regular expression: missing"
        " ), unterminated subpattern at position 0",
    ),
    "patterns that only take out": Case(
        "defaults: {branches: ['!wip/*']}\n",
        '1:12: defaults.branches: only takes out; begin with what to watch, such as "*"',
    ),
    "nothing to watch": Case(
        "repositories:\n  - {url: 'https://x.io/a', branches: []}\n",
        "2:29: repositories[0].branches: watches neither branches nor tags",
    ),
    "no weight": Case(
        "repositories:\n  - {url: 'https://x.io/a', priority: 0}\n",
        "2:39: repositories[0].priority: «0» is not a number above 0, such as 1.0 or 2.5",
    ),
    "an interval above the longest": Case(
        "polling: {interval: 1h}\n",
        "1:21: polling.interval: max_interval is shorter than interval (1h)",
    ),
    "a repository's interval above the longest": Case(
        "repositories:\n  - {url: 'https://x.io/a', interval: 1h}\n",
        "2:39: repositories[0].interval: is longer than polling.max_interval (15m)",
    ),
    "a database that is none": Case(
        "storage: {url: 'oracle://scott:tiger@db/x'}\n",
        "1:16: storage.url: the value begins with none of sqlite://, postgresql://,"
        " postgresql+psycopg://, mysql+pymysql://, mariadb+pymysql://",
    ),
    "open to others": Case(
        "server: {listen: '[::]:8080'}\n",
        "1:18: server.listen: others could reach ::, and this version has no API tokens yet;"
        " listen on 127.0.0.1:8080 behind a proxy that asks who comes in, or write"
        " security.tokens: off to open it knowingly",
    ),
    "tokens of another version": Case(
        "security: {tokens: required}\n",
        "1:20: security.tokens: required is not available in this version; listen on"
        " 127.0.0.1 behind a proxy that asks who comes in",
    ),
    "a proxy that is no address": Case(
        "server: {trusted_proxy: nginx}\n",
        "1:25: server.trusted_proxy: «nginx» is not an IP address; write 127.0.0.1, or * for any",
    ),
    "an alert to nowhere": Case(
        "alerts: {channels: [{on: [dead]}]}\n",
        "1:21: alerts.channels[0].url: is missing; write an Apprise URL",
    ),
    "an included file that is not there": Case(
        "include: [more.yaml]\n", "1:11: include: more.yaml: there is no such file"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_wrong_configuration_is_told_at_its_place(
    case: Case, mistakes: Wrong, write: Write
) -> None:
    file = write("")

    found = [str(mistake) for mistake in mistakes(case.text)]

    assert found == [f"{file}:{line.replace('FILE', str(file))}" for line in case.told.split("\n")]


def test_every_mistake_is_told_at_once_and_in_the_order_of_the_file(mistakes: Wrong) -> None:
    found = mistakes(
        "server: {threds: 8}\n"
        "polling: {interval: 15, workers: 0, workers: 1}\n"
        "receivers: {ci: {payload: x}}\n"
        "repositories: [{url: 'https://x.io/a', receivers: [ic]}, {}]\n"
    )

    assert [(m.line, m.path) for m in found] == [
        (1, "server.threds"),
        (2, "polling.interval"),
        (2, "polling.workers"),
        (2, ""),
        (3, "receivers.ci.url"),
        (3, "receivers.ci.payload"),
        (4, "repositories[0].receivers[0]"),
        (4, "repositories[1].url"),
    ]


def test_no_secret_is_told(mistakes: Wrong) -> None:
    found = mistakes(
        "storage: {url: 'oracle://scott:hunter2@db/x'}\n"
        'forges: {github: {token: "hunter2\\n", tokenn: hunter2}}\n'
        "receivers: {ci: {url: 'https://bob:hunter2@x.io/', headers: {X-Key: \"hunter2\\r\"}}}\n"
        "repositories: [{url: 'ftp://bob:hunter2@x.io/'}]\n"
    )

    assert len(found) == 6
    assert "hunter2" not in repr(found)


def test_a_value_stands_beside_its_mistake_as_it_was_written(mistakes: Wrong) -> None:
    (mistake,) = mistakes("polling: {interval: '${PACE}'}\n", {"PACE": "fast"})

    assert (mistake.path, mistake.value) == ("polling.interval", "${PACE}")
    assert "«fast»" in mistake.message


@pytest.mark.parametrize(
    ("forge", "place", "says"),
    [
        ("tokens: hunter2", "tokens", "must be a list; write [${ONE}]"),
        ("tokens: [other, hunter2, hunter2]", "tokens[2]", "the value stands there already"),
        ("token: 'hunter2 hunter2'", "token", "the value has a space"),
        ("tokens: [other, hunter2é]", "tokens[1]", "a letter such as é"),
    ],
)
def test_tokens_that_cannot_be_used_are_mistakes_that_do_not_show_them(
    mistakes: Wrong, forge: str, place: str, says: str
) -> None:
    (mistake,) = mistakes(f"forges: {{github: {{{forge}}}}}\n")

    assert mistake.path == f"forges.github.{place}"
    assert says in mistake.message
    assert "hunter2" not in repr(mistake)


def test_a_password_may_have_any_letters(loaded: Load) -> None:
    settings = loaded(
        "forges: {ours: {kind: gitea, url: 'https://x.io', username: ada, token: 'é o'}}\n"
    )

    assert [token.reveal() for token in settings.forges["ours"].tokens] == ["é o"]


@pytest.mark.parametrize(
    ("paths", "where", "says"),
    [
        ("['!docs/**']", "paths", "begin with"),
        ("['src/**', '!']", "paths[1]", "matches nothing"),
        ("['/']", "paths[0]", "matches nothing"),
        ("['./src/**']", "paths[0]", "begin at the repository's root"),
        ("['!../src/**', '**']", "paths[0]", "begin at the repository's root"),
        (r"['src\\api\\**']", "paths[0]", "have / between folders"),
        (f"['{'x' * 501}']", "paths[0]", "longer than 500"),
        ("src/**", "paths", "must be a list"),
    ],
)
def test_paths_that_could_match_nothing_are_mistakes(
    mistakes: Wrong, paths: str, where: str, says: str
) -> None:
    (mistake,) = mistakes(f"repositories: [{{url: 'https://x.io/a', paths: {paths}}}]\n")

    assert mistake.path == f"repositories[0].{where}"
    assert says in mistake.message
