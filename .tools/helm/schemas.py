#!/usr/bin/env python3
"""schemas.py SWAGGER.json FOLDER: strict JSON schemas for kubeconform, one for each kind that Kubernetes itself serves.

They are made of the description that comes with Kubernetes' own sources (api/openapi-spec/swagger.json), so that nothing has to be fetched while the
chart is checked. Unknown properties are refused. Each schema stands alone: what it refers to is written out in it.
"""

import json
import pathlib
import sys


class Writer:
    """Writes definitions out in full."""

    def __init__(self, definitions):
        self.definitions = definitions

    def expand(self, node, within):
        """Gives node without references; within are the definitions that it is part of, which only JSONSchemaProps repeats."""
        if isinstance(node, list):
            return [self.expand(item, within) for item in node]
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("$ref"), str):
            return self.refer(node["$ref"].rsplit("/", 1)[-1], within)
        out = {}
        for key, value in node.items():
            if key == "properties" and isinstance(value, dict):
                out[key] = {name: self.expand(each, within) for name, each in value.items()}
            elif key != "description" and not key.startswith("x-kubernetes"):
                out[key] = self.expand(value, within)
        if "properties" in out:
            out.setdefault("additionalProperties", False)
        return out

    def refer(self, name, within):
        if name.endswith("IntOrString"):
            return {"oneOf": [{"type": "string"}, {"type": "integer"}]}
        if name.endswith("resource.Quantity"):
            return {"oneOf": [{"type": "string"}, {"type": "number"}]}
        if name in within:
            return {"type": "object"}
        return self.expand(self.definitions[name], within | {name})


def main(swagger, folder):
    definitions = json.loads(pathlib.Path(swagger).read_text())["definitions"]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    writer = Writer(definitions)
    for name, definition in definitions.items():
        kinds = definition.get("x-kubernetes-group-version-kind", [])
        if len(kinds) != 1 or "kind" not in definition.get("properties", {}):
            continue  # parts of objects, and what every group has
        group = kinds[0]["group"].split(".")[0]
        file = "-".join(part for part in (kinds[0]["kind"].lower(), group, kinds[0]["version"].lower()) if part)
        (folder / f"{file}.json").write_text(json.dumps(writer.expand(definition, frozenset({name}))))


if __name__ == "__main__":
    main(*sys.argv[1:])
