"""Reads one Avro record with Apache's own library: SCHEMA_FILE on the command line, the record's bytes on standard input.

Prints the record as JSON; bytes as hex. Nothing here knows anything of the platform.
"""

import io
import json
import sys

import avro.io
import avro.schema


def plain(value):
    return value.hex() if isinstance(value, bytes) else str(value)


with open(sys.argv[1], encoding="utf-8") as file:
    schema = avro.schema.parse(file.read())
decoder = avro.io.BinaryDecoder(io.BytesIO(sys.stdin.buffer.read()))
print(json.dumps(avro.io.DatumReader(schema).read(decoder), default=plain))
