/**
 * Patch ports in topology files: what a good pair becomes, and every mistake with its place.
 *
 * @module
 */
import { deepStrictEqual } from "node:assert/strict";
import { parseTopology } from "../../../config/load.ts";
import { mistake, mistakes } from "./mistakes.ts";

/** A file with patch ports: for each name the rest of its keys. */
function file(...ports: [name: string, keys: string][]): string {
  const lines = ports.map(([name, keys]) => `  ${name}: { type: patch, ${keys} }`);
  return [
    ...["version: 1", "bridges: { lan: , dmz: }", "ports:"],
    ...["  vm1: { type: vhost-user, socket: vm1.sock }", ...lines, ""],
  ].join("\n");
}

Deno.test("parseTopology joins two bridges by a pair of patch ports", () => {
  const text = file(["p1", "peer: p2"], ["p2", "peer: p1, bridge: lan"]);
  deepStrictEqual(parseTopology(text, "lab.yaml").ports.slice(1), [
    { name: "p1", type: "patch", peer: "p2", bridge: "br0" },
    { name: "p2", type: "patch", peer: "p1", bridge: "lan" },
  ]);
});

Deno.test("parseTopology joins three bridges in a row", () => {
  const text = file(
    ["p1", "peer: p2"],
    ["p2", "peer: p1, bridge: lan"],
    ["p3", "peer: p4, bridge: lan"],
    ["p4", "peer: p3, bridge: dmz"],
  );
  deepStrictEqual(mistakes(text), []);
});

for (
  const [what, ports, expected] of [
    [
      "leads nowhere",
      [["p1", "peer: vm9"]],
      ["5:28", "vm9", 'there is no port "vm9"', "add a port of type patch with peer: p1"],
    ],
    [
      "leads to a guest",
      [["p1", "peer: vm1"]],
      ["5:28", "vm1", 'port "vm1" is no patch port', "add a port of type patch with peer: p1"],
    ],
    [
      "leads to itself",
      [["p1", "peer: p1"]],
      ["5:28", "p1", "a patch port cannot lead to itself", "name the other end"],
    ],
    [
      "leads into its own bridge",
      [["p1", "peer: p2"], ["p2", "peer: p1"]],
      [
        ...["6:28", "p1", 'both ends are in bridge "br0": its frames would go round for ever'],
        "give one of them another bridge",
      ],
    ],
  ] as const
) {
  Deno.test(`parseTopology explains a patch port that ${what}`, () => {
    deepStrictEqual(mistake(file(...ports.map(([a, b]): [string, string] => [a, b]))), expected);
  });
}

Deno.test("parseTopology suggests the patch port that was meant", () => {
  const text = file(["patch1", "peer: patch22"], ["patch2", "peer: patch1, bridge: lan"]);
  deepStrictEqual(mistake(text).slice(2), ['there is no port "patch22"', 'did you mean "patch2"?']);
});

Deno.test("parseTopology explains a patch port whose peer leads elsewhere", () => {
  const text = file(
    ["p1", "peer: p2"],
    ["p2", "peer: p3, bridge: lan"],
    ["p3", "peer: p2, bridge: dmz"],
  );
  deepStrictEqual(mistake(text).slice(2), [
    'port "p2" leads to "p3"',
    "write peer: p1 there, or name the right port here",
  ]);
});

Deno.test("parseTopology refuses patch ports that close a loop", () => {
  const text = file(
    ...[["p1", "peer: p2"], ["p2", "peer: p1, bridge: lan"]] as [string, string][],
    ...[["p3", "peer: p4, bridge: lan"], ["p4", "peer: p3, bridge: dmz"]] as [string, string][],
    ...[["p5", "peer: p6, bridge: dmz"], ["p6", "peer: p5"]] as [string, string][],
  );
  deepStrictEqual(mistake(text), [
    ...[
      "10:28",
      "p5",
      "the bridges of both ends are joined already: frames would go round for ever",
    ],
    "remove this pair",
  ]);
});
