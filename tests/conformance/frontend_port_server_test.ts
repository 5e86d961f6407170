/**
 * A port of type `vhost-user-frontend` that listens: back-ends come to it, so nothing but the port itself
 * bounds how often.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { connectUnix, waitReadable } from "../../ffi/unix_socket.ts";
import { encode } from "../../src/vhost_user/message.ts";
import { FLAG_REPLY, Request } from "../../src/vhost_user/numbers.ts";
import { BACKEND_LAB, endings, exchange } from "../support/backend_lab.ts";
import { eventually } from "../support/eventually.ts";
import { HostilePeer } from "../support/hostile_backend.ts";
import { countDescriptors } from "../support/leaks.ts";
import { connectLingering } from "../support/lingering_socket.ts";
import { TestLab, type TestLabOptions } from "../support/test_lab.ts";

const LISTENING: TestLabOptions = {
  ...BACKEND_LAB,
  more: {
    ...BACKEND_LAB.more,
    ports: BACKEND_LAB.more!.ports!.map((port) => port.replace("up.sock", "up.sock, role: server")),
  },
};
/** Back-ends of a crowd: the pauses between them are 100, 200 and 400 ms. */
const CROWD = 4;
const PAUSES_MS = 700;
/** Longer than anything else takes. */
const LINGER_SECONDS = 20;
/** Descriptors that come with one byte: what the kernel passes at once, nearly (SCM_MAX_FD). */
const MANY = 250;

function connect(lab: TestLab): HostilePeer {
  return new HostilePeer(connectUnix(lab.path("up")));
}

async function attach(lab: TestLab): Promise<HostilePeer> {
  const peer = connect(lab);
  await peer.converse({});
  await eventually("the port is up", () => lab.report("up").state === "up" || null);
  return peer;
}

/** Says no features, in a payload that is too short. */
const cutReply = (request: number, data: Uint8Array) => ({
  data: request === Request.GET_FEATURES ? encode(request, FLAG_REPLY, new Uint8Array(7)) : data,
});

function testListening(name: string, attack: (lab: TestLab) => Promise<void>): void {
  Deno.test(`FrontendPort that listens ${name}`, async () => {
    await using lab = await TestLab.open(LISTENING);
    const before = countDescriptors();
    await attack(lab);
    await lab.idle("up");
    await eventually("descriptors are closed", () => countDescriptors() === before || null);
    {
      using peer = await attach(lab);
      await exchange(lab, peer);
    }
    for (const port of ["a", "up"]) await lab.idle(port);
    await eventually("descriptors are closed", () => countDescriptors() === before || null);
  });
}

testListening("carries frames for one back-end after the other", async (lab) => {
  for (let i = 0; i < 2; i++) {
    {
      using peer = await attach(lab);
      await exchange(lab, peer);
    }
    for (const port of ["a", "up"]) await lab.idle(port);
  }
  deepStrictEqual(endings(lab), [null, null]);
});

testListening("turns a second back-end away while the first one lives", async (lab) => {
  using first = await attach(lab);
  using second = connect(lab);
  strictEqual(await second.next(), null);
  const refused = lab.events.filter(({ kind, port }) => kind === "refused" && port === "up");
  strictEqual(refused.length, 1);
  await exchange(lab, first);
});

testListening("waits longer for a crowd that all break a reply (B01, B23)", async (lab) => {
  const start = performance.now();
  const { closedConnections } = lab.report("up").counters;
  for (let i = 0; i < CROWD; i++) {
    using peer = connect(lab);
    await peer.converse({ spoil: cutReply });
    await peer.end();
  }
  strictEqual(lab.report("up").counters.closedConnections, closedConnections + CROWD);
  ok(performance.now() - start >= PAUSES_MS, "the pauses were too short");
  deepStrictEqual(endings(lab), ["the reply to GET_FEATURES is not one"]);
});

testListening("lets nobody in while too much of what came is being closed (B07)", async (lab) => {
  const { socket, peer: reader } = await connectLingering(LINGER_SECONDS);
  const before = countDescriptors();
  {
    using first = connect(lab);
    ok(await first.next() !== null);
    // They are closed one after the other, and the first one waits.
    const others = Array.from({ length: MANY }, () => first.socket);
    first.say(Uint8Array.of(1), [socket, ...others]);
    // From now on the switch has the last one.
    socket.close();
    const isFull = () => countDescriptors() - before >= MANY || null;
    await eventually("descriptors wait for their end", isFull);
  }
  using second = connect(lab);
  await lab.exchange("b", "c");
  strictEqual(waitReadable(second.socket, 0), false);
  reader.close();
  ok(await second.next() !== null);
});

testListening("does not hold up other ports while a crowd comes and goes (B23)", async (lab) => {
  let isOver = false;
  let visits = 0;
  const crowd = (async () => {
    for (; !isOver; visits++) {
      using peer = connect(lab);
      await peer.next();
    }
  })();
  try {
    for (let i = 0; i < 5; i++) await lab.exchange("b", "c");
  } finally {
    isOver = true;
    await crowd;
  }
  ok(visits > 0, "the crowd came");
  ok(endings(lab).length <= 1, "the same reason is said once");
});
