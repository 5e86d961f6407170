/**
 * YAML as such: text, aliases, and where a mistake is.
 *
 * @module
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { parseTopology } from "../../../config/load.ts";
import { guestPorts } from "../../../config/topology.ts";
import { marks, mistake, mistakes, SMALLEST, withPort } from "./mistakes.ts";

Deno.test("parseTopology reads YAML 1.2: no, yes, on and off are text", () => {
  const text = `version: 1
name: no
bridges: { on: }
ports:
  yes: { type: vhost-user, socket: off, bridge: on }
`;
  const topology = parseTopology(text, "/lab.yaml");
  strictEqual(topology.name, "no");
  const [port] = guestPorts(topology);
  deepStrictEqual([port?.name, port?.socket, port?.bridge], ["yes", "/off", "on"]);
});

Deno.test("parseTopology reads anchors and aliases", () => {
  const text = `version: 1
bridges: { near: &options { max-macs: 100 }, far: *options }
ports:
  vm1: { type: vhost-user, socket: a.sock, bridge: &where near }
  vm2: { type: vhost-user, socket: b.sock, bridge: *where }
`;
  const { bridges, ports } = parseTopology(text, "lab.yaml");
  deepStrictEqual(bridges.map(({ maxAddresses }) => maxAddresses), [4096, 100, 100]);
  deepStrictEqual(ports.map(({ bridge }) => bridge), ["near", "near"]);
});

Deno.test("parseTopology reads a file with a byte order mark and Windows line ends", () => {
  const text = `\ufeff${SMALLEST.replaceAll("\n", "\r\n")}`;
  strictEqual(parseTopology(text, "lab.yaml").ports.length, 2);
});

Deno.test("parseTopology refuses an empty file and a file of comments", () => {
  for (const text of ["", "\n", "# nothing here\n"]) {
    const found = mistakes(text);
    ok(found.length > 0);
    ok(found.every(([place]) => place === "1:1"));
  }
});

Deno.test("parseTopology refuses a file that is no mapping", () => {
  for (const text of ["hello\n", "- a\n- b\n", "5\n", "\u0000\u0001\u0002"]) {
    deepStrictEqual(mistakes(text).map(([place, , reason]) => [place, reason]), [
      ["1:1", "this is not keys and values"],
    ]);
  }
});

Deno.test("parseTopology says what is there twice", () => {
  const fix = "remove one of the two";
  const [place, marked, reason, found] = mistake(SMALLEST.replace("vm2", "vm1"));
  deepStrictEqual([place, marked, found], ["4:3", "vm1", fix]);
  match(reason, /vm1/);
});

Deno.test("parseTopology names every key that is there twice", () => {
  const text = withPort("queues: 1, queues: 2").replace("\n", "\nname: a\nname: b\n");
  deepStrictEqual(mistakes(text).map(([place]) => place), ["3:1", "5:55"]);
});

Deno.test("parseTopology refuses a second document without naming the parser's functions", () => {
  const [place, marked, reason, fix] = mistake(`${SMALLEST}---\n${SMALLEST}`);
  deepStrictEqual([place, marked], ["5:1", "---"]);
  ok(!/parseAllDocuments/.test(reason + fix), reason);
});

Deno.test("parseTopology refuses an alias without an anchor", () => {
  const found = mistakes("version: 1\nports:\n  vm1: *base\n");
  deepStrictEqual(found.map(([place, marked]) => [place, marked]), [["3:8", "*base"]]);
});

Deno.test("parseTopology refuses aliases that multiply without end", () => {
  const lines = ["version: 1", "a: &a [x, x, x, x, x, x, x, x, x, x]"];
  for (const [name, other] of ["ba", "cb", "dc"]) {
    lines.push(`${name}: &${name} [${Array(10).fill(`*${other}`).join(", ")}]`);
  }
  ok(mistakes(`${lines.join("\n")}\n`).length > 0);
});

Deno.test("parseTopology marks the alias through which a wrong value came", () => {
  const text = `version: 1
ports:
  vm1: { type: vhost-user, socket: a.sock, role: &role sever }
  vm2: { type: vhost-user, socket: b.sock, role: *role }
`;
  deepStrictEqual(mistakes(text).map(([place, marked, reason]) => [place, marked, reason]), [
    ["3:56", "sever", '"sever" is not known here'],
    ["4:50", "*role", '"sever" is not known here'],
  ]);
});

Deno.test("parseTopology marks the alias when what is wrong lies inside of it", () => {
  const text = "version: 1\nports:\n  vm1: &vm { type: vhost-user, socket: a.sock }\n  vm2: *vm\n";
  deepStrictEqual(mistakes(text).map(([place, marked, reason]) => [place, marked, reason]), [
    ["4:8", "*vm", 'port "vm1" has the same socket'],
  ]);
});

Deno.test("parseTopology reports all mistakes at once, in the order of the file", () => {
  const text = `version: 2
name: 9x
ports:
  vm1: { type: vhost-user, socket: a.sock, mac: zz, queues: 0 }
  vm2: { type: vhost-user, roel: server, socket: b.sock }
threads: { poll: bussy }
`;
  const places = ["1:10", "2:7", "4:49", "4:61", "5:28", "6:18"];
  deepStrictEqual(mistakes(text).map(([place]) => place), places);
});

Deno.test("parseTopology reports contradictions between ports all at once as well", () => {
  const text = `version: 1
ports:
  vm1: { type: vhost-user, socket: a.sock, bridge: lan }
  vm2: { type: vhost-user, socket: a.sock, bridge: wan }
`;
  deepStrictEqual(mistakes(text).map(([place]) => place), ["3:52", "4:36", "4:52"]);
});

Deno.test("parseTopology counts lines and columns in a file with Windows line ends", () => {
  const text = withPort("role: sever").replaceAll("\n", "\r\n");
  deepStrictEqual(marks(text), [["3:50", "sever"]]);
});
