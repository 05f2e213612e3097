"""What to do about an error, by reason; by code where the answer had no reason. Tables of facts and nothing else."""

import re
from collections.abc import Mapping
from shlex import quote

BY_REASON = {
    "PAGE_TOKEN_INVALID": "start again without a page token; a token belongs to the arguments it was made with",
    "REQUEST_ID_REUSED": "use a new request_id for another request",
    "ETAG_MISMATCH": "someone wrote since you read it: read it again, then decide again",
    "RESOURCE_NOT_FOUND": "check the name; a resource that you may not read looks the same",
    "RESOURCE_EXISTS": "choose another name, or pass allow_existing=True where the call has it",
    "NOT_SUPPORTED": "client and service are of different versions: upgrade the older one",
    "TOKEN_MISSING": "pass connect(token=…) or set FIVEFOLD_TOKEN; `fivefold token` makes one for development",
    "TOKEN_INVALID": "get a new token; `fivefold token` makes one for development",
    "PERMISSION_DENIED": "ask someone who manages the resource for the right that the message names",
    "STORAGE_FULL": "free space where the service keeps its data; nothing of this call was written",
    "TOO_MANY_CALLS": "the service is at its limit: send less at once, or try again a little later",
    "STORE_UNAVAILABLE": "the service's database does not answer: try again, then look at the service's log",
    "SERVICE_UNAVAILABLE": "another service does not answer: `fivefold status` shows which",
    "SHUTTING_DOWN": "the service is stopping: try again when it is back",
    "DEADLINE_EXCEEDED": "give the call more time: connect(timeout=…)",
    "INTERNAL": "this is a defect; the service's log has the details under the time of this call",
    "DIGEST_MISMATCH": "the file changed while it was sent, or was damaged on the way: send it again",
    "ARROW_INVALID": "send one Arrow IPC stream; the SDK makes it from a pandas, polars or pyarrow frame",
    "PARAM_CHANGED": "params are written once: log the new value under another key, or as a tag or a metric",
    "RUN_DELETED": "restore the run first, or log to another one",
    "RUN_ENDED": "log to an ended run by client.tracking.log(run, …, allow_ended=True)",
    "NOT_DELETED": "delete it first; only what is deleted can be removed for good",
    "LOGGED_MODEL_DELETED": "log the model again, or use another one",
    "EXPERIMENT_DELETED": "restore the experiment first, or use another one",
    "SCHEMA_MISMATCH": "compare the columns with `fivefold tables describe TABLE`",
    "KEY_NULL": "drop the rows whose key or time is missing, or fill them",
    "KEY_DUPLICATE": "keep one row per key and time, such as frame.drop_duplicates([...keys, time], keep='last')",
    "TIMESTAMP_INVALID": "give times a zone: frame['time'].dt.tz_localize('UTC')",
    "LOOKUP_KEY_MISSING": "add the key column, or map it in the lookup: Lookup(table, keys={'its key': 'your column'})",
    "NOT_PUBLISHED": "publish the table first: `fivefold tables publish TABLE`",
    "TABLE_IN_USE": "delete what uses the table first",
    "STAGE_NOT_ALLOWED": "see the model's policy with `fivefold models show MODEL`; archive_existing=True makes room",
    "VERSION_NOT_READY": "wait until the version is READY; a FAILED one says why in status_message",
    "SOURCE_INVALID": "give the folder of a run's artifacts: runs/{run}/artifacts/{path}",
    "REQUEST_SETTLED": "someone settled the request before: make a new one if the move is still wanted",
    "VERSION_IN_USE": "move the version to Archived first",
    "NOTHING_TO_ROLL_BACK": "no other version was in Production before; see `fivefold models history MODEL`",
    "OWN_REQUEST": "the model's policy wants another person to approve it",
    "ADDRESS_REFUSED": "use https and a public address; the operator may allow others with --webhook-allow",
    "WEBHOOK_DISABLED": "turn it on first: `fivefold webhooks update WEBHOOK --status active`",
    "TARGET_INVALID": "see the columns with `fivefold training-sets show TRAINING_SET`",
    "DATA_INVALID": "use a training set with more rows or other columns",
    "JOB_ENDED": "see its result with `fivefold automl show JOB`",
    "NO_TRIAL": "wait for the first trial to finish, or give the job more time",
    "RAY_UNAVAILABLE": "Ray may still be starting: `fivefold status` shows it; otherwise look at automl's log",
    "MODEL_NOT_SERVED": "move a version to Production: `fivefold models promote MODEL/VERSION Production`",
    "MODEL_LOADING": "the version is being loaded: try again in a moment",
    "MODEL_REFUSED": "`fivefold serve status` says why; what was live stays live",
    "INPUT_MISMATCH": "see the model's inputs with `fivefold models show MODEL/VERSION`",
}

BY_CODE = {
    "DEADLINE_EXCEEDED": BY_REASON["DEADLINE_EXCEEDED"],
    "UNIMPLEMENTED": BY_REASON["NOT_SUPPORTED"],
    "RESOURCE_EXHAUSTED": "send less at once: smaller batches, or a stream",
    "INTERNAL": BY_REASON["INTERNAL"],
    "UNKNOWN": "",
}


# What is not there, by the form of its name; {0} … are the parts of the name in parentheses.
BY_NAME = {
    r"models/([^/-][^/]*|-[^/]+)": "see those that you may read with `fivefold models list`",
    r"models/([^/]+)/versions/[0-9]+": "see those that there are with `fivefold models versions {0}`",
    r"models/([^/]+)/aliases/[^/]+": "see those that there are with `fivefold models alias {0}`",
    r"models/([^/]+/)versions/([0-9]+)/requests/[0-9]+": "see them with `fivefold models requests {0}{1} --all`",
    r"models/([^/]+/)versions/([0-9]+)/comments/[0-9]+": "see them with `fivefold models comments {0}{1}`",
    r"webhooks/([^/]+)": "see those that you manage with `fivefold webhooks list`",
    r"webhooks/([^/]+)/deliveries/[0-9]+": "see those that are kept with `fivefold webhooks deliveries {0}`",
}


def hint_for(code: str, reason: str, facts: Mapping[str, str] | None = None) -> str:
    """Returns what to do about an error, or "" when its message says it all."""
    if reason == "RESOURCE_NOT_FOUND":
        for form, hint in BY_NAME.items():
            if found := re.fullmatch(form, (facts or {}).get("name", "")):
                return hint.format(*map(quote, found.groups()))
    return BY_REASON.get(reason, "") if reason else BY_CODE.get(code, "")
