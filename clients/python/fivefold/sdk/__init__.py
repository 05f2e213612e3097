"""The Python SDK. Start at `client.py`; each service has a module of its name.

Needs grpcio, protobuf and googleapis-common-protos; frames need the extra `fivefold[pandas]`. May open connections to
the services and read and write the files that a call names; nothing else.
"""
