/**
 * The probe against this switch, in which nothing may deviate, and against back-ends that do deviate, in
 * each of the ways that it looks for.
 *
 * @module
 */
import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { parseTopology } from "../../config/load.ts";
import { acceptUnix, connectUnix, listenUnix, send } from "../../ffi/unix_socket.ts";
import { main } from "../../src/cli/main.ts";
import { Switch } from "../../src/control/switch.ts";
import { type Check, runCheck } from "../../src/probe/check.ts";
import { CHECKS } from "../../src/probe/checks/all.ts";
import { ClientConnector, ServerConnector } from "../../src/probe/connector.ts";
import { probe } from "../../src/probe/probe.ts";
import { ReachedTarget } from "../../src/probe/target.ts";
import { type CheckResult, Interrupted } from "../../src/probe/verdict.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { Peer } from "../backends/peer.ts";
import { CASES } from "../support/bend_cases.ts";
import { onRequest, sluggish, tells } from "../support/bends.ts";
import { type Bend, BentBackend, draftOf } from "../support/bent_backend.ts";
import { countDescriptors } from "../support/leaks.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { TestGuest } from "../support/test_guest.ts";
import { TestLab } from "../support/test_lab.ts";
import { MemoryIo, TemporaryFolder } from "../unit/cli/memory_io.ts";

/** Long enough for what is certain to be answered, on a busy machine as well. */
const PATIENT_MS = 5000;
/** How long a deviation is waited for that shows by nothing being done. */
const IMPATIENT_MS = 600;
const BASIC_FEATURES = 1n << 32n;

Deno.test("probe finds nothing that deviates in a port of this switch", async () => {
  await using lab = await TestLab.open({ ports: ["a", "b"], queues: 2 });
  await using _peer = await Peer.attach(lab.path("b"));
  const before = countDescriptors();
  using connector = new ClientConnector(lab.path("a"));
  const { offer, results } = await probe(connector, { timeoutMs: PATIENT_MS });
  deepStrictEqual([offer.queuePairs, offer.memorySlots], [2n, 64n]);
  deepStrictEqual(results.filter(({ verdict }) => verdict !== "ok"), []);
  strictEqual(results.length, CHECKS.length);
  // It does no harm: nothing is refused, no ring breaks, nobody must be disconnected, and nobody else
  // gets a frame.
  const { counters } = lab.report("a");
  const { ringFaults, refusedRequests, closedConnections } = counters;
  deepStrictEqual([ringFaults, refusedRequests, closedConnections], [0, 0, 0]);
  strictEqual(lab.report("b").counters.transmittedFrames, 0);
  await lab.idle("a");
  strictEqual(countDescriptors(), before);
});

Deno.test("probe finds nothing that deviates in a port that connects to it", async () => {
  using folder = new TemporaryFolder();
  const text = "version: 1\nports: { a: { type: vhost-user, socket: a.sock, role: client } }";
  const events = { onPortEvent: () => {}, onWorkerEvent: () => {}, onFailure: () => {} };
  const lab = new Switch(parseTopology(text, join(folder.path, "lab.yaml")), events);
  using connector = new ServerConnector(join(folder.path, "a.sock"));
  await lab.open();
  try {
    const target = new ReachedTarget(connector, PATIENT_MS);
    for (const id of ["features-reconnect", "attach-split"]) {
      const { verdict, detail } = await runCheck(checkOf(id), target);
      strictEqual(verdict, "ok", detail);
    }
  } finally {
    await lab.close();
  }
});

Deno.test("probe sees every deviation that it looks for", async (t) => {
  const most = Math.max(...CASES.map(({ checks }) => checks.length));
  const ports = Array.from({ length: most }, (_, i) => `p${i}`);
  await using lab = await TestLab.open({ ports, queues: 2 });
  for (const { what, checks, detail, bend } of CASES) {
    await t.step(`probe sees a back-end that ${what}`, async () => {
      // Most of the time is spent in waiting for what does not come: all of them wait together.
      await Promise.all(checks.map(async (id, i) => {
        const result = await bent(lab, id, bend(), ports[i]);
        strictEqual(result.verdict, "deviates", `${id}: ${result.detail}`);
        match(result.detail, detail);
      }));
    });
  }
});

Deno.test("probe has a deviation for every check", () => {
  const seen = new Set(CASES.flatMap(({ checks }) => checks));
  deepStrictEqual(CHECKS.map(({ id }) => id).filter((id) => !seen.has(id)), []);
  deepStrictEqual([...seen].filter((id) => !CHECKS.some((check) => check.id === id)), []);
});

Deno.test("probe says that it got no answer to a question that the back-end passes over", async () => {
  await using lab = await TestLab.open({ ports: ["a"] });
  const { verdict, detail } = await bent(lab, "status", onRequest(Request.GET_STATUS, () => null));
  deepStrictEqual([verdict, detail], [
    "no answer",
    `no answer to GET_STATUS in ${IMPATIENT_MS} ms`,
  ]);
});

Deno.test("probe takes it for a deviation when the back-end hangs up", async () => {
  await using lab = await TestLab.open({ ports: ["a"] });
  // The switch hangs up on a request that is not one.
  const bend = onRequest(Request.SET_OWNER, (message) => ({ ...draftOf(message), request: 999 }));
  const { verdict, detail } = await bent(lab, "attach-plain", bend);
  strictEqual(verdict, "deviates");
  match(detail, /^it hung up at /);
});

Deno.test("probe sends nothing whose feature is not offered", async () => {
  await using lab = await TestLab.open({ ports: ["a"] });
  const requests = new Set<number>();
  const { reply } = tells(Request.GET_FEATURES, () => BASIC_FEATURES);
  const request: Bend["request"] = (message) => {
    requests.add(message.request);
    return draftOf(message);
  };
  const verdicts = new Set<string>();
  for (const { id } of CHECKS) {
    verdicts.add((await bent(lab, id, { request, reply: reply! })).verdict);
  }
  deepStrictEqual([...verdicts].sort(), ["deviates", "not offered", "ok"]); // bit 30 is a must
  const { GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE, GET_VRING_BASE } = Request;
  const { SET_VRING_NUM, SET_VRING_BASE, SET_VRING_ADDR, SET_VRING_CALL, SET_VRING_KICK } = Request;
  deepStrictEqual(
    requests,
    new Set([
      ...[GET_FEATURES, SET_OWNER, SET_FEATURES, SET_MEM_TABLE, SET_VRING_NUM, SET_VRING_BASE],
      ...[SET_VRING_ADDR, SET_VRING_CALL, SET_VRING_KICK, GET_VRING_BASE],
    ]),
  );
});

Deno.test("probe ends after a check when it is interrupted, and leaves the port free", async () => {
  await using lab = await TestLab.open({ ports: ["a"] });
  using connector = new ClientConnector(lab.path("a"));
  const interruption = new AbortController();
  let seen = 0;
  const onResult = () => {
    if (++seen === 2) interruption.abort(new Interrupted("interrupted"));
  };
  const { signal } = interruption;
  await rejects(probe(connector, { timeoutMs: PATIENT_MS, signal, onResult }), Interrupted);
  strictEqual(seen, 2);
  await lab.idle("a");
});

Deno.test("probe gives a back-end time for its first driver", async () => {
  await using lab = await TestLab.open({ ports: ["a"] });
  using folder = new TemporaryFolder();
  const path = join(folder.path, "bent");
  await using _backend = new BentBackend(path, lab.path("a"), sluggish(2 * IMPATIENT_MS, 2));
  using connector = new ClientConnector(path);
  const interruption = new AbortController();
  const results: CheckResult[] = [];
  const onResult = (result: CheckResult) => {
    if (results.push(result) && result.id === "attach-split") interruption.abort();
  };
  const { signal } = interruption;
  await rejects(probe(connector, { timeoutMs: IMPATIENT_MS, signal, onResult }));
  deepStrictEqual(results.filter(({ verdict }) => verdict !== "ok"), []);
  strictEqual(results.at(-1)!.id, "attach-split");
});

Deno.test("main probe gives up on a back-end that never answers (B02)", async () => {
  using folder = new TemporaryFolder();
  const path = join(folder.path, "silent");
  using _listener = listenUnix(path);
  match(await failureOf(path), /: no answer to GET_FEATURES in 300 ms$/);
});

Deno.test("main probe gives up on a back-end that accepts and closes in a loop (B23)", async () => {
  using folder = new TemporaryFolder();
  const path = join(folder.path, "closing");
  using listener = listenUnix(path);
  const timer = setInterval(() => acceptUnix(listener)?.close(), 1);
  try {
    match(
      await failureOf(path),
      /: it accepts connections and closes them; it may have another front-end$/,
    );
  } finally {
    clearInterval(timer);
  }
});

Deno.test("main probe does not disturb the front-end that a port has already", async () => {
  await using lab = await TestLab.open({ ports: ["a", "b"] });
  await using one = await TestGuest.attach(lab.path("a"));
  await using two = await TestGuest.attach(lab.path("b"));
  match(await failureOf(lab.path("a")), /; it may have another front-end$/);
  const frame = makeFrame(BROADCAST, stationAddress(1));
  one.send(frame);
  deepStrictEqual(await two.receive(), frame);
});

Deno.test("main probe gives up on a back-end that never accepts (B23)", async () => {
  using folder = new TemporaryFolder();
  const path = join(folder.path, "full");
  using _listener = listenUnix(path, { backlog: 0 });
  using _only = connectUnix(path);
  match(await failureOf(path), /: nobody accepts connections$/);
});

Deno.test("main probe names a path that belongs to another service (B24)", async () => {
  using folder = new TemporaryFolder();
  const path = join(folder.path, "http");
  using listener = listenUnix(path);
  const answer = new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n");
  const timer = setInterval(() => {
    using socket = acceptUnix(listener);
    if (socket !== null) send(socket, answer);
  }, 1);
  try {
    match(await failureOf(path), /: it is none, message \d+ has /);
  } finally {
    clearInterval(timer);
  }
});

Deno.test("main probe names a path where nobody listens", async () => {
  using folder = new TemporaryFolder();
  match(await failureOf(join(folder.path, "none")), /none: it does not exist$/);
  match(await failureOf(folder.write("file", "")), /file: this is no socket$/);
});

Deno.test("main probe --listen gives up when no back-end connects, and removes its socket", async () => {
  using folder = new TemporaryFolder();
  const path = join(folder.path, "lonely");
  match(await failureOf("--listen", path), /no back-end has connected .* in 300 ms$/);
  deepStrictEqual([...Deno.readDirSync(folder.path)], []);
  match(await failureOf("--listen", folder.write("file", "")), /something else than a socket/);
});

Deno.test("main probe prints a line for each check", async () => {
  await using lab = await TestLab.open({ ports: ["a", "b"], queues: 2 });
  await using _peer = await Peer.attach(lab.path("b"));
  const io = new MemoryIo();
  strictEqual(await main(["probe", lab.path("a")], io), 0, io.stdout);
  match(io.stdout, /^protocol features {2}mq, log_shmfd/m);
  for (const { title } of CHECKS) ok(io.stdout.includes(title), title);
  const ended =
    `\n${CHECKS.length} checks: ${CHECKS.length} ok, 0 deviates, 0 not offered, 0 no answer\n`;
  ok(io.stdout.endsWith(ended), io.stdout);
});

Deno.test("main probe --json prints what deviates, and returns 1", async () => {
  await using lab = await TestLab.open({ ports: ["a", "b"], queues: 2 });
  await using _peer = await Peer.attach(lab.path("b"));
  using folder = new TemporaryFolder();
  const path = join(folder.path, "bent");
  const bend = tells(Request.GET_PROTOCOL_FEATURES, (value) => value | 1n << 40n);
  await using _backend = new BentBackend(path, lab.path("a"), bend);
  const io = new MemoryIo();
  strictEqual(await main(["probe", "--json", path], io), 1, io.stderr);
  const { offer, checks, isClean } = JSON.parse(io.stdout);
  deepStrictEqual([offer.queuePairs, checks.length, isClean], ["2", CHECKS.length, false]);
  const wrong = checks.filter(({ verdict }: CheckResult) => verdict !== "ok");
  deepStrictEqual(wrong, [{
    id: "protocol-features-known",
    title: "only known protocol features are offered",
    clause: "vhost-user, Protocol features",
    verdict: "deviates",
    detail: "unknown: bit40",
  }]);
});

function checkOf(id: string): Check {
  const check = CHECKS.find((candidate) => candidate.id === id);
  if (check === undefined) throw new RangeError(`Cannot find check ${id}`);
  return check;
}

/** Asks a back-end that deviates. */
async function bent(lab: TestLab, id: string, bend: Bend, port = "a"): Promise<CheckResult> {
  using folder = new TemporaryFolder();
  const path = join(folder.path, "bent");
  await using _backend = new BentBackend(path, lab.path(port), bend);
  using connector = new ClientConnector(path);
  return await runCheck(checkOf(id), new ReachedTarget(connector, IMPATIENT_MS));
}

/** What the command says when it fails: one line. */
async function failureOf(...args: string[]): Promise<string> {
  const before = countDescriptors();
  const io = new MemoryIo();
  strictEqual(await main(["probe", "--timeout", "0.3", ...args], io), 1);
  strictEqual(io.stdout, "");
  match(io.stderr, /^error: [^\n]+\n$/);
  // Those of labs of earlier tests may go away meanwhile.
  ok(countDescriptors() <= before);
  return io.stderr.trimEnd();
}
