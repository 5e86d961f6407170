/**
 * Keys that are no text, or mean something in other versions of YAML only.
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { parseTopology } from "../../../config/load.ts";
import { mistake, mistakes, SMALLEST, withLines, withPort } from "./mistakes.ts";

/** A file with one port, whose key is written like this. */
function named(key: string): string {
  return withPort("queues: 1").replace("vm1", key);
}

Deno.test("parseTopology refuses a key that YAML reads as something else than text", () => {
  const letter = "write a name that begins with a letter";
  const cases: [key: string, kind: string, fix: string][] = [
    ["true", "true or false", 'write it in quotes: "true"'],
    ["False", "true or false", 'write it in quotes: "False"'],
    ["null", "nothing", 'write it in quotes: "null"'],
    ["~", "nothing", letter],
    ["5", "a number", letter],
    ["0x1f", "a number", letter],
    [".inf", "a number", letter],
    [".NaN", "a number", letter],
  ];
  for (const [key, kind, fix] of cases) {
    const reason = `YAML reads this key as ${kind}, not as text`;
    deepStrictEqual(mistake(named(key)), ["3:3", key, reason, fix]);
    const bridge = mistake(withLines(`bridges: { ${key}: }`));
    deepStrictEqual(bridge, ["2:12", key, reason, fix]);
  }
});

Deno.test("parseTopology refuses a key that is empty", () => {
  deepStrictEqual(mistake("version: 1\nports:\n  : { type: vhost-user }\n").slice(0, 3), [
    "3:3",
    ":",
    "YAML reads this key as nothing, not as text",
  ]);
});

Deno.test("parseTopology takes a key in quotes as the name that is written", () => {
  for (const key of ["true", "null"]) {
    const names = parseTopology(named(`"${key}"`), "lab.yaml").ports.map(({ name }) => name);
    deepStrictEqual(names, [key]);
  }
});

Deno.test("parseTopology loses no port beside one with the same name in quotes", () => {
  const text = SMALLEST.replace("vm1", "true").replace("vm2", '"true"');
  deepStrictEqual(mistake(text).slice(0, 2), ["3:3", "true"]);
  const quoted = SMALLEST.replace("vm1", "'true'").replace("vm2", '"true"');
  deepStrictEqual(mistake(quoted), [
    ...["4:3", '"true"', 'the key "true" is there twice', "remove one of the two"],
  ]);
});

Deno.test("parseTopology refuses a key that is a list, keys and values, or an alias", () => {
  const fix = "write a name, like vm1";
  const port = "{ type: vhost-user, socket: a.sock }";
  const first = (key: string) => mistake(`version: 1\nports:\n  ? ${key}\n  : ${port}\n`);
  deepStrictEqual(first("[b]"), ["3:5", "[b]", "a list cannot be a key", fix]);
  deepStrictEqual(first("{ b: c }"), ["3:5", "{ b: c }", "keys and values cannot be a key", fix]);
  const alias = `version: 1\nname: &lab vm1\nports:\n  *lab : ${port}\n  vm1: ${port}\n`;
  deepStrictEqual(mistake(alias), [
    ...["4:3", "*lab", "an alias cannot be a key", "write the key itself"],
  ]);
});

Deno.test("parseTopology refuses the name of a bridge or peer that YAML reads as something else", () => {
  const fix = "write a name; true, null and numbers need quotes";
  for (const bridge of ["true", "5", "null", "[lan]"]) {
    const found = mistake(withPort(`bridge: ${bridge}`));
    deepStrictEqual(found, ["3:52", bridge, "this is not text", fix]);
  }
  deepStrictEqual(mistake("version: 1\nports:\n  p1: { type: patch }\n"), [
    ...["3:3", "p1", '"peer" is missing', "add peer:"],
  ]);
});

Deno.test("parseTopology refuses merge keys, which YAML 1.2 does not have", () => {
  const text = `version: 1
ports:
  vm1: &vm { type: vhost-user, socket: a.sock }
  vm2: { <<: *vm, socket: b.sock }
`;
  deepStrictEqual(mistake(text), [
    "4:10",
    "<<",
    "merge keys are YAML 1.1; this file is YAML 1.2",
    "write the keys out",
  ]);
});

Deno.test("parseTopology refuses to read another version of YAML", () => {
  for (const line of ["%YAML 1.1", "%YAML 1.3", "%YAML 2.0", "%YAML"]) {
    const reason = "this file is YAML 1.2, and nothing else";
    const expected = ["1:1", line, reason, "remove this line"];
    deepStrictEqual(mistake(`${line}\n---\n${SMALLEST}`), expected);
  }
  const later = mistakes(`# a lab\n%YAML 1.2\n%YAML 1.1\n---\n${SMALLEST}`);
  deepStrictEqual(later.map(([place]) => place), ["3:1"]);
  deepStrictEqual(mistakes(`\ufeff%YAML 1.1\r\n---\r\nversion: 1\r\n`).map(([place]) => place), [
    "1:1",
  ]);
});

Deno.test("parseTopology takes the version of YAML that it reads anyway", () => {
  const text = `%YAML 1.2 # the usual\n---\n${SMALLEST}`;
  strictEqual(parseTopology(text, "lab.yaml").ports.length, 2);
});
