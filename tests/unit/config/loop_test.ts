/**
 * Ports of one file that meet on a socket join bridges, like patch ports: never in a circle.
 *
 * @module
 */
import { deepStrictEqual } from "node:assert/strict";
import { mistake, mistakes } from "./mistakes.ts";

/** A file with ports: for each name the rest of its keys. */
function file(...ports: [name: string, keys: string][]): string {
  const lines = ports.map(([name, keys]) => `  ${name}: { ${keys} }`);
  return ["version: 1", "bridges: { lan: , dmz: }", "ports:", ...lines, ""].join("\n");
}

/** Two ports that meet on a socket. */
function met(socket: string, bridge: string, far: string): [string, string][] {
  return [
    [`${socket}-back`, `type: vhost-user, socket: ${socket}, bridge: ${bridge}`],
    [`${socket}-front`, `type: vhost-user-frontend, socket: ${socket}, bridge: ${far}`],
  ];
}

/** A pair of patch ports. */
function patched(cable: string, bridge: string, far: string): [string, string][] {
  return [
    [`${cable}-near`, `type: patch, peer: ${cable}-far, bridge: ${bridge}`],
    [`${cable}-far`, `type: patch, peer: ${cable}-near, bridge: ${far}`],
  ];
}

const JOINED = "and the bridges of both are joined already: frames would go round for ever";
const FIX = "give this port a socket of its own";

Deno.test("parseTopology lets ports that meet on a socket join bridges in a row", () => {
  deepStrictEqual(mistakes(file(...met("a", "br0", "lan"), ...met("b", "dmz", "lan"))), []);
  deepStrictEqual(mistakes(file(...met("a", "br0", "lan"), ...patched("b", "lan", "dmz"))), []);
});

Deno.test("parseTopology refuses ports of one bridge that meet on a socket", () => {
  deepStrictEqual(mistake(file(...met("a", "lan", "lan"))), [
    "5:49",
    "a",
    'port "a-back" is the other end of this socket, and both are in bridge "lan": ' +
    "its frames would go round for ever",
    "give one of them another bridge, or a socket of its own",
  ]);
});

Deno.test("parseTopology refuses ports that meet on a socket whichever listens or comes first", () => {
  const back: [string, string] = ["back", "type: vhost-user, socket: a, role: client"];
  const front: [string, string] = [
    "front",
    "type: vhost-user-frontend, socket: ./b/../a, role: server",
  ];
  deepStrictEqual(mistake(file(back, front)).slice(0, 2), ["5:47", "./b/../a"]);
  deepStrictEqual(mistake(file(front, back)).slice(0, 2), ["5:37", "a"]);
});

Deno.test("parseTopology refuses the socket that closes a loop with another one", () => {
  deepStrictEqual(mistake(file(...met("a", "br0", "lan"), ...met("b", "lan", "br0"))), [
    "7:49",
    "b",
    `port "b-back" is the other end of this socket, ${JOINED}`,
    FIX,
  ]);
});

Deno.test("parseTopology refuses the socket that closes a loop with patch ports", () => {
  const row = [...patched("a", "br0", "lan"), ...patched("b", "lan", "dmz")];
  deepStrictEqual(mistake(file(...row, ...met("c", "dmz", "br0"))), [
    "9:49",
    "c",
    `port "c-back" is the other end of this socket, ${JOINED}`,
    FIX,
  ]);
});

Deno.test("parseTopology refuses the patch ports that close a loop with a socket", () => {
  deepStrictEqual(mistake(file(...met("a", "br0", "lan"), ...patched("b", "lan", "br0"))), [
    "7:31",
    "b-near",
    "the bridges of both ends are joined already: frames would go round for ever",
    "remove this pair",
  ]);
});

Deno.test("parseTopology finds a loop beside a patch port that leads nowhere", () => {
  const lost: [string, string] = ["lost", "type: patch, peer: nobody-here"];
  const found = mistakes(file(lost, ...met("a", "br0", "br0"), ...met("b", "br0", "lan")));
  deepStrictEqual(found.map(([place, marked]) => [place, marked]), [
    ["4:30", "nobody-here"],
    ["6:49", "a"],
  ]);
});
