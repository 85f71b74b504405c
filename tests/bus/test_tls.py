from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from edge_node.bus.access import check_access
from edge_node.client import Client
from edge_node.config.models import BrokerConfig
from edge_node.errors import BrokerUnreachable, ConfigurationError
from edge_node.messages import Outgoing
from tests.brokers import DEADLINE_S, MOSQUITTO, free_port, require_mosquitto, wait_until_it_accepts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    MakeClient = Callable[..., Any]

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Papers:
    """Certificates made for one test, in one folder."""

    folder: Path

    def authority(self, name: str) -> None:
        """Make an authority, which signs itself."""
        self._openssl(
            "req", "-x509", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"
        )

    def signed(self, name: str, *, by: str = "plant", subject: str = "DNS:localhost") -> None:
        """Make a certificate for a subject."""
        self._openssl("req", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={subject}\n")
        authority = ("-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial")
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", *authority, "-extfile", f"{name}.ext", "-out", f"{name}.pem"
        )

    def path(self, name: str) -> str:
        """Return where a file lies."""
        return str(self.folder / name)

    def client(self, name: str, *, authority: str = "plant") -> dict[str, str]:
        """Return a `broker.tls` section with a client certificate."""
        return {
            "ca_file": self.path(f"{authority}.pem"),
            "cert_file": self.path(f"{name}.pem"),
            "key_file": self.path(f"{name}.key"),
        }

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    if shutil.which("openssl") is None:
        if os.environ.get("CI"):
            pytest.fail("openssl is not installed")
        pytest.skip("openssl is not installed")
    made = Papers(tmp_path_factory.mktemp("papers"))
    made.authority("plant")
    made.authority("stranger")
    made.signed("broker")
    made.signed("edge", subject="DNS:edge")
    made.signed("forged", by="stranger", subject="DNS:edge")
    return made


@pytest.fixture
def start_broker(tmp_path: Path, papers: Papers) -> Iterator[Callable[..., int]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start(settings: str = "") -> int:
        port, file = free_port(), tmp_path / "mosquitto.conf"
        file.write_text(
            f"listener {port} 127.0.0.1\nuser root\nallow_anonymous true\ncafile {papers.path('plant.pem')}\n"
            f"certfile {papers.path('broker.pem')}\nkeyfile {papers.path('broker.key')}\n{settings}"
        )
        with (tmp_path / "mosquitto.log").open("ab") as log:
            process = subprocess.Popen([require_mosquitto(), "-c", str(file)], stdout=log, stderr=log)
        processes.append(process)
        wait_until_it_accepts(port, process=process)
        return port

    if MOSQUITTO is None:
        require_mosquitto()
    yield start
    for process in processes:
        process.terminate()
        process.wait(DEADLINE_S)


def refusal(port: int, *, tls: dict[str, str], host: str = "localhost") -> str:
    """Return why there is no connection, as the person reads it who asks an edge."""
    client = Client(
        BrokerConfig(host=host, port=port, tls=tls), edge="hall", user="ada", connect_timeout_s=1.0
    )
    with pytest.raises(BrokerUnreachable) as caught, client:
        pass
    assert "expected a connection, came" in str(caught.value)
    return str(caught.value)


@pytest.mark.broker
def test_a_broker_signed_by_the_right_authority_is_spoken_to(
    start_broker: Callable[..., int], papers: Papers, make_client: MakeClient
) -> None:
    broker = {"host": "localhost", "tls": {"ca_file": papers.path("plant.pem")}}
    client = make_client(start_broker(), filters={"t": 1}, broker=broker)
    client.publish(Outgoing("t", b"sealed"))
    assert client.next()[0].payload == b"sealed"


@pytest.mark.broker
def test_a_broker_signed_by_another_authority_is_refused_and_the_reason_told(
    start_broker: Callable[..., int], papers: Papers
) -> None:
    reason = refusal(start_broker(), tls={"ca_file": papers.path("stranger.pem")})
    assert "a certificate that is not trusted" in reason
    assert "ca_file" in reason


@pytest.mark.broker
def test_a_broker_with_the_certificate_of_another_host_is_refused(
    start_broker: Callable[..., int], papers: Papers
) -> None:
    reason = refusal(start_broker(), tls={"ca_file": papers.path("plant.pem")}, host="127.0.0.1")
    assert "not valid for '127.0.0.1'" in reason


@pytest.mark.broker
def test_a_client_certificate_that_is_asked_for_lets_in_and_names_the_user(
    start_broker: Callable[..., int], papers: Papers, make_client: MakeClient
) -> None:
    port = start_broker("require_certificate true\nuse_identity_as_username true\n")
    client = make_client(port, filters={"t": 1}, broker={"host": "localhost", "tls": papers.client("edge")})
    client.publish(Outgoing("t", b"known"))
    assert client.next()[0].payload == b"known"


@pytest.mark.broker
@pytest.mark.parametrize("name", [None, "forged"])
def test_without_a_client_certificate_of_the_right_authority_nobody_is_let_in(
    start_broker: Callable[..., int], papers: Papers, name: str | None
) -> None:
    port = start_broker("require_certificate true\n")
    tls = papers.client(name) if name else {"ca_file": papers.path("plant.pem")}
    reason = refusal(port, tls=tls)
    assert "the broker ended the TLS handshake" in reason
    assert "cert_file" in reason


@pytest.mark.broker
def test_a_broker_that_wants_tls_is_not_reached_in_plain_text(start_broker: Callable[..., int]) -> None:
    client = Client(BrokerConfig(port=start_broker()), edge="hall", user="ada", connect_timeout_s=0.5)
    with pytest.raises(BrokerUnreachable), client:
        pass


@pytest.mark.parametrize(
    ("tls", "named"),
    [({"ca_file": "/none.pem"}, "none.pem"), ({"cert_file": "/none.pem"}, "none.pem")],
)
def test_a_certificate_file_that_is_missing_is_a_configuration_error(tls: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=r"broker\.tls") as caught:
        check_access(BrokerConfig(tls=tls))
    assert caught.value.field == "broker.tls"
    assert "No such file" in str(caught.value) or named in str(caught.value)


def test_a_key_that_is_not_that_of_the_certificate_is_a_configuration_error(papers: Papers) -> None:
    tls = {"cert_file": papers.path("edge.pem"), "key_file": papers.path("broker.key")}
    with pytest.raises(ConfigurationError, match=r"broker\.tls"):
        check_access(BrokerConfig(tls=tls))


@pytest.mark.parametrize("host", ["192.0.2.1", "broker.example", "2001:db8::1"])
def test_beyond_this_machine_plain_tcp_is_refused_and_tls_is_not(host: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_access(BrokerConfig(host=host))
    assert caught.value.field == "broker.plaintext"
    check_access(BrokerConfig(host=host, tls={}))
    check_access(BrokerConfig(host=host, plaintext=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_on_this_machine_plain_tcp_is_allowed(host: str) -> None:
    check_access(BrokerConfig(host=host))


@pytest.mark.parametrize(("mode", "warnings"), [(0o604, 1), (0o644, 1), (0o640, 0), (0o600, 0)])
def test_a_password_file_that_everyone_may_read_is_warned_of(
    tmp_path: Path, mode: int, warnings: int
) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(mode)
    with structlog.testing.capture_logs() as logs:
        check_access(BrokerConfig(username="edge", password_file=str(file)))
    assert [line["event"] for line in logs] == ["password_file_readable_by_everyone"] * warnings
    assert "secret" not in str(logs)
