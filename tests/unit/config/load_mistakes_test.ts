/**
 * Keys and values that a topology cannot have: place, mark, reason and fix.
 *
 * @module
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { parseTopology } from "../../../config/load.ts";
import { PATH_EXAMPLE } from "../../../config/paths.ts";
import { marks, mistake, mistakes, SMALLEST, withLines, withPort } from "./mistakes.ts";

Deno.test("parseTopology suggests the key that was meant", () => {
  const fix = (key: string) => `did you mean "${key}"?`;
  const unknown = (key: string) => `the key "${key}" is not known here`;
  deepStrictEqual(mistakes(withPort("roel: server")), [
    ["3:44", "roel", unknown("roel"), fix("role")],
  ]);
  deepStrictEqual(mistakes(withLines("bridge: { lan: }")), [
    ["2:1", "bridge", unknown("bridge"), fix("bridges")],
  ]);
  deepStrictEqual(mistakes(withLines("bridges: { lan: { max-mac: 5 } }")), [
    ["2:19", "max-mac", unknown("max-mac"), fix("max-macs")],
  ]);
  deepStrictEqual(mistakes(withLines("threads: { wrokers: 2 }")), [
    ["2:12", "wrokers", unknown("wrokers"), fix("workers")],
  ]);
});

Deno.test("parseTopology lists the keys when none is close to what was written", () => {
  deepStrictEqual(mistakes(withPort("colour: red")), [
    [
      "3:44",
      "colour",
      'the key "colour" is not known here',
      "use one of: type, socket, role, queues, bridge, mac",
    ],
  ]);
});

Deno.test("parseTopology suggests the key that was meant when it is a required one", () => {
  const text = "version: 1\nports:\n  vm1: { type: vhost-user, sokcet: a.sock }\n";
  const found = mistakes(text).find(([, marked]) => marked === "sokcet");
  deepStrictEqual(found?.slice(2), [
    'the key "sokcet" is not known here',
    'did you mean "socket"?',
  ]);
});

Deno.test("parseTopology suggests the value that was meant, or lists the values", () => {
  deepStrictEqual(mistakes(withPort("role: sever")), [
    ["3:50", "sever", '"sever" is not known here', 'did you mean "server"?'],
  ]);
  deepStrictEqual(mistakes(withPort("role: yes")), [
    ["3:50", "yes", '"yes" is not known here', "use one of: server, client"],
  ]);
  deepStrictEqual(mistakes(withLines("threads: { poll: bussy }")), [
    ["2:18", "bussy", '"bussy" is not known here', 'did you mean "busy"?'],
  ]);
  deepStrictEqual(mistakes(withPort("queues: 1").replace("vhost-user", "vhostuser")), [
    ["3:16", "vhostuser", '"vhostuser" is not known here', 'did you mean "vhost-user"?'],
  ]);
});

Deno.test("parseTopology marks the port in which a key is missing", () => {
  deepStrictEqual(mistakes("version: 1\nports:\n  vm1: { type: vhost-user }\n"), [
    ["3:3", "vm1", '"socket" is missing', "add socket: with a path"],
  ]);
  const [missing, ...others] = mistakes("version: 1\nports:\n  vm1: { socket: a.sock }\n");
  deepStrictEqual(missing?.slice(0, 3), ["3:3", "vm1", '"type" is missing']);
  match(missing![3], /vhost-user/);
  deepStrictEqual(others, []);
});

Deno.test("parseTopology says that version is missing at the start of the file", () => {
  deepStrictEqual(mistakes("ports:\n  vm1: { type: vhost-user, socket: a.sock }\n"), [
    ["1:1", "p", '"version" is missing', "write version: 1"],
  ]);
});

Deno.test("parseTopology says how to add ports when they are missing", () => {
  const [place, , reason, fix] = mistake("version: 1\n");
  deepStrictEqual([place, reason], ["1:1", '"ports" is missing']);
  match(fix, /ports/);
});

Deno.test("parseTopology wants at least one port", () => {
  deepStrictEqual(mistakes("version: 1\nports: {}\n"), [
    ["2:8", "{}", "there are no ports", "add at least one port"],
  ]);
});

Deno.test("parseTopology refuses values of the wrong type where mappings belong", () => {
  const reasons = (text: string) =>
    mistakes(text).map(([place, marked, why]) => [place, marked, why]);
  const reason = "this is not keys and values";
  deepStrictEqual(reasons("version: 1\nports: none\n"), [["2:8", "none", reason]]);
  deepStrictEqual(reasons("version: 1\nports:\n  - vm1\n"), [["3:3", "- vm1", reason]]);
  deepStrictEqual(reasons("version: 1\nports:\n  vm1: tap\n"), [["3:8", "tap", reason]]);
  deepStrictEqual(reasons(withLines("bridges: [lan]")), [["2:10", "[lan]", reason]]);
  deepStrictEqual(reasons(withLines("bridges: { lan: 5 }")), [["2:17", "5", reason]]);
});

Deno.test("parseTopology refuses another version", () => {
  for (const version of ["2", '"1"', "1.5", "one"]) {
    deepStrictEqual(mistakes(SMALLEST.replace("version: 1", `version: ${version}`)), [
      ["1:10", version, "this version of the file format is not known", "write version: 1"],
    ]);
  }
});

Deno.test("parseTopology refuses queue counts that a port cannot have", () => {
  const [none, more, number] = ["write 1 or more", "write at most 128", "write a number, like 2"];
  const few = "a port needs at least one queue pair";
  const many = "this is more than a port can have";
  const odd = "this is not a number of queue pairs";
  deepStrictEqual(mistakes(withPort("queues: 128")), []);
  deepStrictEqual(mistakes(withPort("queues: 0")), [["3:52", "0", few, none]]);
  deepStrictEqual(mistakes(withPort("queues: -1")), [["3:52", "-1", few, none]]);
  deepStrictEqual(mistakes(withPort("queues: 129")), [["3:52", "129", many, more]]);
  deepStrictEqual(mistakes(withPort("queues: 1.5")), [["3:52", "1.5", odd, number]]);
  deepStrictEqual(mistakes(withPort("queues: two")), [["3:52", "two", odd, number]]);
  deepStrictEqual(mistakes(withPort('queues: "2"')), [["3:52", '"2"', odd, number]]);
});

Deno.test("parseTopology names a mistake once, even when two checks see it", () => {
  const huge = "99999999999999999999";
  deepStrictEqual(marks(withPort(`queues: ${huge}`)), [["3:52", huge]]);
});

Deno.test("parseTopology refuses thread and address counts that are out of range", () => {
  deepStrictEqual(mistakes(withLines("threads: { workers: 17 }")), [
    ["2:21", "17", "this is more than the switch can use", "write at most 16"],
  ]);
  deepStrictEqual(mistakes(withLines("threads: { workers: 0 }")), [
    ["2:21", "0", "the switch needs at least one poll thread", "write 1 or more"],
  ]);
  deepStrictEqual(mistakes(withLines("bridges: { lan: { max-macs: 16385 } }")), [
    ["2:29", "16385", "this is more than a bridge can remember", "write at most 16384"],
  ]);
  deepStrictEqual(mistakes(withLines("bridges: { lan: { max-macs: 0 } }")), [
    ["2:29", "0", "a bridge needs room for one address", "write 1 or more"],
  ]);
});

Deno.test("parseTopology refuses a thread count that is no number and not auto", () => {
  for (const workers of ["many", "1.5", '"2"', "[1]"]) {
    deepStrictEqual(mistakes(withLines(`threads: { workers: ${workers} }`)), [
      ["2:21", workers, "this is not a number of threads", "write a number, like 1, or auto"],
    ]);
  }
});

Deno.test("parseTopology refuses what is no processor", () => {
  const pin = (text: string) => mistakes(withLines(`threads: { pin: ${text} }`));
  const fix = "write one like 2";
  for (const processor of ["-1", "1.5", "two", '"1"']) {
    deepStrictEqual(pin(`[${processor}]`), [
      ["2:18", processor, "this is not the number of a processor", fix],
    ]);
  }
  deepStrictEqual(pin("[1024]"), [
    ["2:18", "1024", "Linux has no processor with this number", "write at most 1023"],
  ]);
  deepStrictEqual(pin("1"), [
    ["2:17", "1", "this is not a list of processors", "write one like [2, 3]"],
  ]);
});

Deno.test("parseTopology refuses processors that the machine lacks or that two workers have", () => {
  const machine = { parallelism: 4, processors: new Set([0, 1, 4, 5]) };
  const pin = (text: string) =>
    mistakes(withLines(`threads: { workers: 2, pin: ${text} }`), machine);
  deepStrictEqual(pin("[5, 0]"), []);
  deepStrictEqual(pin("[0, 2]"), [
    ["2:33", "2", "this machine has no processor 2", "use some of: 0, 1, 4, 5"],
  ]);
  deepStrictEqual(pin("[4, 4]"), [
    ["2:33", "4", "processor 4 is there twice", "give each poll thread a processor of its own"],
  ]);
});

Deno.test("parseTopology wants as many processors as workers", () => {
  const machine = { parallelism: 4, processors: new Set([0, 1, 2, 3]) };
  const fix = "write one processor for each, or leave pin: out";
  const pin = (text: string) => mistakes(withLines(`threads: { ${text} }`), machine);
  deepStrictEqual(pin("workers: 2, pin: [1]"), [
    ["2:29", "[1]", "1 processor for 2 poll threads", fix],
  ]);
  deepStrictEqual(pin("pin: [1, 2]"), [
    ["2:17", "[1, 2]", "2 processors for 1 poll thread", fix],
  ]);
  deepStrictEqual(pin("workers: auto, pin: [1]"), [
    ["2:32", "[1]", "1 processor for 3 poll threads", fix],
  ]);
});

Deno.test("parseTopology leaves processors to the start when it does not know the machine's", () => {
  const machine = { parallelism: 1, processors: null };
  deepStrictEqual(mistakes(withLines("threads: { pin: [1000] }"), machine), []);
});

Deno.test("parseTopology refuses what is no Ethernet address", () => {
  const fix = "write one like 52:54:00:00:00:01";
  for (const mac of ["52:54:00:00:00", "52-54-00-00-00-01", "525400000001", "zz:54:00:00:00:01"]) {
    deepStrictEqual(mistakes(withPort(`mac: ${mac}`)), [
      ["3:49", mac, "this is not an Ethernet address", fix],
    ]);
  }
});

Deno.test("parseTopology refuses the addresses of groups", () => {
  const fix = "write one with an even first byte, like 52:54:00:00:00:01";
  for (const mac of ["53:54:00:00:00:01", "ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:00"]) {
    deepStrictEqual(mistakes(withPort(`mac: ${mac}`)), [
      ["3:49", mac, "this address is for groups", fix],
    ]);
  }
});

Deno.test("parseTopology refuses an address that two ports have", () => {
  const text = `version: 1
ports:
  vm1: { type: vhost-user, socket: a.sock, mac: 52:54:00:00:00:0a }
  vm2: { type: vhost-user, socket: b.sock, mac: 52:54:00:00:00:0A }
`;
  const [place, marked, reason] = mistake(text);
  deepStrictEqual([place, marked], ["4:49", "52:54:00:00:00:0A"]);
  match(reason, /vm1/);
});

Deno.test("parseTopology refuses what is no duration", () => {
  const line = (time: string) => withLines(`bridges: { lan: { ageing-time: ${time} } }`);
  const fix = "write a whole number and s, min, h or d, like 300s";
  for (const time of ["soon", "1.5h", "-5s", "5weeks"]) {
    deepStrictEqual(mistakes(line(time)), [["2:32", time, "this is not a duration", fix]]);
  }
  deepStrictEqual(mistakes(line("300")), [
    ["2:32", "300", "this is not a duration", "write a number and a unit, like 300s"],
  ]);
  deepStrictEqual(mistakes(line("1000000s")), []);
});

Deno.test("parseTopology says that a duration is out of range, not that it is none", () => {
  for (const time of ["0s", "1000001s", "100000h"]) {
    const line = `bridges: { lan: { ageing-time: ${time} } }`;
    const [place, marked, reason] = mistake(withLines(line));
    deepStrictEqual([place, marked], ["2:32", time]);
    ok(reason !== "this is not a duration", `${time}: ${reason}`);
  }
});

Deno.test("parseTopology refuses names that are too long or begin with a digit", () => {
  const name = `v${"m".repeat(32)}`;
  const reason = "this is not a name";
  const fix = "use 1 to 32 letters, digits, '_', '.' or '-', beginning with a letter";
  const named = (text: string) => withPort("queues: 1").replace("vm1", text);
  deepStrictEqual(mistakes(named(name.slice(1))), []);
  deepStrictEqual(mistakes(named(name)), [["3:3", name, reason, fix]]);
  deepStrictEqual(mistakes(named("1vm")), [["3:3", "1vm", reason, fix]]);
  deepStrictEqual(mistakes(named("a b")), [["3:3", "a b", reason, fix]]);
  deepStrictEqual(mistakes(withLines("name: my lab")), [["2:7", "my lab", reason, fix]]);
  deepStrictEqual(mistakes(withLines("bridges: { 0lan: }")), [["2:12", "0lan", reason, fix]]);
});

Deno.test("parseTopology loses no port whose name JavaScript uses for itself", () => {
  const named = (name: string) => SMALLEST.replace("vm2", name);
  strictEqual(parseTopology(named("constructor"), "lab.yaml").ports.length, 2);
  deepStrictEqual(marks(named("__proto__")), [
    ["4:3", "__proto__"],
  ]);
});

Deno.test("parseTopology refuses an empty socket and one that is no text", () => {
  const socket = (text: string) => mistakes(withPort("queues: 1").replace("a.sock", text));
  deepStrictEqual(socket('""'), [
    ["3:36", '""', "the path is empty", PATH_EXAMPLE],
  ]);
  for (const text of ["7", "null", "~", "true", "[a.sock]", "{ path: a.sock }"]) {
    deepStrictEqual(socket(text), [["3:36", text, "this is not a path", PATH_EXAMPLE]]);
  }
});

Deno.test("parseTopology refuses a socket's path that only a shell understands", () => {
  const fix = "write the whole path, or one that starts at the folder of this file";
  const cases = [
    ["~/vm1.sock", "~"],
    ["~root/vm1.sock", "~root"],
    ["$HOME/vm1.sock", "$HOME"],
    ["/run/${USER}/vm1.sock", "${USER}"],
  ] as const;
  for (const [path, part] of cases) {
    const reason = `a shell replaces "${part}", labswitch does not`;
    deepStrictEqual(mistakes(SMALLEST.replace("/run/lab/vm1.sock", () => `"${path}"`)), [
      ["3:36", `"${path}"`, reason, fix],
    ]);
  }
  for (const path of ["a~/vm1.sock", "vm1.sock~", "$1.sock", "a$/b.sock", "5$.sock"]) {
    deepStrictEqual(mistakes(SMALLEST.replace("/run/lab/vm1.sock", () => path)), [], path);
  }
});

Deno.test("parseTopology refuses the path of a folder as a socket", () => {
  const cases = [
    [".", "./vm1.sock"],
    ["..", "../vm1.sock"],
    ["/", "/vm1.sock"],
    ["/run/lab/", "/run/lab/vm1.sock"],
    ["/run/.", "/run/./vm1.sock"],
  ] as const;
  for (const [path, example] of cases) {
    deepStrictEqual(mistakes(SMALLEST.replace("/run/lab/vm1.sock", path)), [
      ["3:36", path, "this is a folder, not a socket", `add a name, like ${example}`],
    ]);
  }
});

Deno.test("parseTopology writes a port out that is only a word", () => {
  const fix = (written: string) => mistake(`version: 1\nports:\n  vm1: ${written}\n`).slice(2);
  const cases = [
    ["vhost-user", "{ type: vhost-user, socket: vm1.sock }"],
    ["vhostuser", "{ type: vhost-user, socket: vm1.sock }"],
    ["vhost-user-frontend", "{ type: vhost-user-frontend, socket: vm1.sock }"],
    ["host", "{ type: host, address: 10.0.0.1/24 }"],
    ["patch", "{ type: patch, peer: other-end }"],
    ["vm1.sock", "{ type: vhost-user, socket: vm1.sock }"],
    ["5", "{ type: vhost-user, socket: vm1.sock }"],
    ["[]", "{ type: vhost-user, socket: vm1.sock }"],
    ["", "{ type: vhost-user, socket: vm1.sock }"],
  ] as const;
  for (const [written, example] of cases) {
    deepStrictEqual(fix(written), ["this is not keys and values", `write vm1: ${example}`]);
  }
});

Deno.test("parseTopology refuses a socket's path with control characters", () => {
  for (const path of [String.raw`"a\0b"`, String.raw`"a\nb"`, String.raw`"\e[2J"`, '"a\x9bb"']) {
    const [place, , reason] = mistake(withPort("queues: 1").replace("a.sock", path));
    deepStrictEqual([place, reason], ["3:36", "a path cannot hold control characters"], path);
  }
});

Deno.test("parseTopology writes control characters of the file in a way that does no harm", () => {
  const escape = "\u001b[31m";
  const texts = [
    withPort(`role: ${escape}`),
    withPort(`"${escape}": 1`),
    withPort(String.raw`"a\nb": 1`),
    withPort(`role: "a\u202eb"`),
    withPort(`bridge: *${escape}`),
    `version: 1\nports:\n  ${escape}: {}\n  ${escape}: {}\n`,
  ];
  for (const text of texts) {
    const shown = mistakes(text).flat().join("");
    strictEqual(/[\p{Cc}\u202e]/u.test(shown), false, JSON.stringify(shown));
  }
  deepStrictEqual(mistake(texts[2]!)[2], String.raw`the key "a\x0ab" is not known here`);
});

Deno.test("parseTopology allows 107 bytes for a socket's path and not one more", () => {
  const path = (bytes: number) => `/run/${"x".repeat(bytes - 5)}`;
  const socket = (text: string) => mistakes(withPort("queues: 1").replace("a.sock", text));
  const fix = "use a shorter folder, like /run/lab";
  deepStrictEqual(socket(path(107)), []);
  deepStrictEqual(socket(path(108)), [
    ["3:36", path(108), "the socket's path has 108 bytes; Linux allows 107", fix],
  ]);
});

Deno.test("parseTopology counts bytes of the whole path, not characters of what was written", () => {
  const wide = `/run/${"é".repeat(52)}`;
  const [, , reason] = mistake(withPort("queues: 1").replace("a.sock", wide));
  match(reason, /109 bytes/);
  const folder = `/${"d".repeat(100)}`;
  strictEqual(parseTopology(withPort("queues: 1"), `${folder}.yaml`).ports.length, 1);
  let message = "";
  try {
    parseTopology(withPort("queues: 1"), `${folder}/lab.yaml`);
  } catch (error) {
    message = (error as Error).message;
  }
  match(message, /the socket's path has 108 bytes/);
});

Deno.test("parseTopology refuses a socket that two ports have, however it is written", () => {
  const text = `version: 1
ports:
  vm1: { type: vhost-user, socket: a.sock }
  vm2: { type: vhost-user, socket: ./x/../a.sock }
`;
  deepStrictEqual(mistakes(text), [
    [
      "4:36",
      "./x/../a.sock",
      'port "vm1" has the same socket',
      "give each port a socket of its own",
    ],
  ]);
});

Deno.test("parseTopology suggests the bridge that was meant, or says how to make it", () => {
  const text = (bridge: string) =>
    withPort(`bridge: ${bridge}`).replace("\n", "\nbridges: { lan: }\n");
  deepStrictEqual(mistakes(text("lna")), [
    ["4:52", "lna", 'there is no bridge "lna"', 'did you mean "lan"? Otherwise add it to bridges:'],
  ]);
  deepStrictEqual(mistakes(text("office")), [
    [
      "4:52",
      "office",
      'there is no bridge "office"',
      "add it to bridges:, or use one of: br0, lan",
    ],
  ]);
});

Deno.test("parseTopology allows 256 ports and not one more", () => {
  const text = (count: number) => {
    const port = (_: unknown, i: number) => `  vm${i}: { type: vhost-user, socket: vm${i}.sock }\n`;
    return `version: 1\nports:\n${Array.from({ length: count }, port).join("")}`;
  };
  deepStrictEqual(mistakes(text(256)), []);
  deepStrictEqual(mistakes(text(257)), [
    ["2:1", "ports", "there are more than 256 ports", "use two switches"],
  ]);
});

Deno.test("parseTopology allows 64 bridges with br0 and not one more", () => {
  const bridges = (first: number, count: number) =>
    withLines(
      `bridges:\n${Array.from({ length: count }, (_, i) => `  br${first + i}:`).join("\n")}`,
    );
  deepStrictEqual(mistakes(bridges(1, 63)), []);
  deepStrictEqual(mistakes(bridges(1, 64)), [
    ["2:1", "bridges", "there are more than 64 bridges", "use fewer"],
  ]);
  deepStrictEqual(mistakes(bridges(0, 64)), []);
});
