"""Hands a message to the operator's SMTP server."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage


class MailFailed(Exception):
    """The server did not take the message. `final`: it never will."""

    def __init__(self, why: str, *, code: int = 0, final: bool = False) -> None:
        super().__init__(why)
        self.code = code
        self.final = final


@dataclass(frozen=True, slots=True, kw_only=True)
class Smtp:
    """The settings of the server. tls: "starttls", "tls" from the first byte, or "off"."""

    host: str
    port: int
    tls: str
    user: str
    password: str
    timeout_seconds: float
    ca_file: str = ""

    def __repr__(self) -> str:
        return f"Smtp({self.host}:{self.port})"

    def send(self, message: EmailMessage, sender: str, to: str) -> None:
        """Sends one message to one address. Raises MailFailed."""
        try:
            with self._connected() as server:
                if self.user:
                    server.login(self.user, self.password)
                server.send_message(message, from_addr=sender, to_addrs=[to])
        except smtplib.SMTPRecipientsRefused as error:
            code = next(iter(error.recipients.values()))[0]
            raise MailFailed(f"the address was refused with {code}", code=code, final=code >= 500) from None
        except smtplib.SMTPAuthenticationError as error:
            raise MailFailed("the server did not accept user and password", code=error.smtp_code) from None
        except smtplib.SMTPResponseException as error:
            raise MailFailed(f"the server answered {error.smtp_code}", code=error.smtp_code) from None
        except ssl.SSLCertVerificationError as error:
            raise MailFailed(f"the certificate does not verify: {error.verify_message}") from None
        except (OSError, smtplib.SMTPException):
            raise MailFailed("no connection to the server, or it broke off") from None

    def _connected(self) -> smtplib.SMTP:
        if self.tls == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_seconds, context=self._trust())
        server = smtplib.SMTP(self.host, self.port, timeout=self.timeout_seconds)
        if self.tls == "starttls":
            try:
                server.starttls(context=self._trust())
            except BaseException:
                server.close()
                raise
        return server

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.ca_file:
            context.load_verify_locations(self.ca_file)
        return context
