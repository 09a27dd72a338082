// Writes src/messages.ts from docs/schemas/lockstep.v1.json: a TypeScript type for each event, and for what events are made of.
//
// `node generate.mjs --check` writes nothing, and fails when what is there is not what would be written.

import { readFile, writeFile } from "node:fs/promises";

const SCHEMA = new URL("../../docs/schemas/lockstep.v1.json", import.meta.url);
const PLACE = new URL("src/messages.ts", import.meta.url);

const schema = JSON.parse(await readFile(SCHEMA, "utf8"));
const definitions = schema.$defs;
const events = definitions.Event.oneOf.map(({ $ref }) => named($ref));
const parts = new Set();
events.forEach((name) => findParts(definitions[name]));
const written = [
  "/** What watchers hear. Generated from docs/schemas/lockstep.v1.json by `npm run generate`; do not edit. */",
  ...alike(events).flatMap((names) => (names.length === 1 ? declared(names[0]) : shared(names))),
  ...[...parts].map(declared),
].join("\n\n");

if (process.argv.includes("--check")) {
  if ((await readFile(PLACE, "utf8")) !== `${written}\n`) {
    console.error("src/messages.ts is not what docs/schemas/lockstep.v1.json says; run `npm run generate` in web/client");
    process.exitCode = 1;
  }
} else {
  await writeFile(PLACE, `${written}\n`);
}

/** The events in groups: of those that differ in their `type` only, and all others alone. */
function alike(names) {
  const groups = new Map();
  for (const name of names) {
    const fields = JSON.stringify(untyped(definitions[name]));
    groups.set(fields, [...(groups.get(fields) ?? []), name]);
  }
  return [...groups.values()];
}

/** An event without its `type`. */
function untyped({ properties: { type: _, ...properties }, ...definition }) {
  return { ...definition, properties };
}

/** The events of a group, with their fields in one place, which goes by the name of the message that is published. */
function shared(names) {
  const fields = untyped(definitions[names[0]]);
  const message = Object.keys(definitions).find((name) => !names.includes(name) && definitions[name].description === fields.description);
  const types = names.map((name) => {
    const { type: own } = definitions[name].properties;
    return `export interface ${typeName(name)} extends ${message}Fields {\n  type: ${type(own, "  ")};\n}`;
  });
  return [declaration(`${message}Fields`, fields), ...types];
}

function declared(name) {
  return declaration(typeName(name), definitions[name]);
}

function declaration(name, definition) {
  const plain = definition.type === "object" && definition.properties !== undefined && !definition.oneOf && !definition.anyOf && !definition.allOf;
  return `${comment(definition, "")}export ${plain ? `interface ${name} ${type(definition, "")}` : `type ${name} = ${type(definition, "")};`}`;
}

/** The TypeScript of a schema; `indent` is what stands before its lines. */
function type(definition, indent) {
  if (definition === true) return "unknown";
  if (definition.$ref !== undefined) return typeName(named(definition.$ref));
  if (definition.const !== undefined) return JSON.stringify(definition.const);
  if (definition.enum !== undefined) return definition.enum.map((value) => JSON.stringify(value)).join(" | ");
  const several = definition.oneOf ?? definition.anyOf;
  if (several !== undefined) return several.map((one) => type(one, indent)).join(" | ");
  if (definition.allOf !== undefined) return definition.allOf.map((one) => grouped(type(one, indent))).join(" & ");
  if (Array.isArray(definition.type)) return definition.type.map((one) => type({ ...definition, type: one }, indent)).join(" | ");
  switch (definition.type) {
    case "integer":
    case "number":
      return "number";
    case "string":
    case "boolean":
    case "null":
      return definition.type;
    case "array":
      return `${grouped(type(definition.items ?? true, indent))}[]`;
    case "object":
      return object(definition, indent);
    default:
      return "unknown";
  }
}

function object(definition, indent) {
  const inner = `${indent}  `;
  const required = new Set(definition.required ?? []);
  const properties = Object.entries(definition.properties ?? {});
  if (properties.length === 0) {
    const values = definition.additionalProperties;
    return `Record<string, ${values === undefined || values === false ? "unknown" : type(values, indent)}>`;
  }
  const lines = properties.map(([name, property]) => {
    const key = /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
    return `${comment(property, inner)}${inner}${key}${required.has(name) ? "" : "?"}: ${type(property, inner)};\n`;
  });
  return `{\n${lines.join("")}${indent}}`;
}

function grouped(text) {
  return / [|&] /.test(text) && !text.startsWith("{") ? `(${text})` : text;
}

function comment({ description }, indent) {
  if (description === undefined) return "";
  const lines = description.replaceAll("*/", "*\\/").split("\n");
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}`.trimEnd()).join("\n")}\n${indent} */\n`;
}

/** Notes the definitions that a schema is made of. */
function findParts(part) {
  if (typeof part !== "object" || part === null) return;
  if (typeof part.$ref === "string" && !parts.has(named(part.$ref))) {
    parts.add(named(part.$ref));
    findParts(definitions[named(part.$ref)]);
  }
  Object.values(part).forEach(findParts);
}

function named(reference) {
  return reference.split("/").at(-1);
}

/** An event goes by the name of its message: the schema's `AgentState` is what is published, which nobody is told without a position. */
function typeName(name) {
  return name.replace(/Event$/, "");
}
