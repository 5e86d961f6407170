/**
 * Front-ends that break the rules of the socket: bytes, sizes, silence, crowds and descriptors. Each
 * attack hits port `a` of a running switch; then `b` and `c`, and `a` itself, must work.
 *
 * @module
 */
import { match, ok, strictEqual } from "node:assert/strict";
import type { Fd } from "../../ffi/fd.ts";
import { connectUnix } from "../../ffi/unix_socket.ts";
import { HEADER } from "../../src/vhost_user/layouts.ts";
import { encode } from "../../src/vhost_user/message.ts";
import { FLAG_NEED_REPLY, MAX_PAYLOAD_BYTES, Request } from "../../src/vhost_user/numbers.ts";
import { REQUESTS } from "../../src/vhost_user/requests.ts";
import { eventually, nextTurn } from "../support/eventually.ts";
import { countDescriptors } from "../support/leaks.ts";
import { provoke, testAttack, TestLab } from "../support/test_lab.ts";
import { NOTHING, ringAddress, ringState, u64 } from "../support/vhost_messages.ts";

const GET_FEATURES = encode(Request.GET_FEATURES, 0, NOTHING);
/** Longer than the switch gives a message to be finished. */
const END_TIMEOUT_MS = 30_000;

function header(request: number, flags: number, size: number): Uint8Array {
  const data = new Uint8Array(HEADER.size);
  HEADER.write(new DataView(data.buffer), 0, { request, flags, size });
  return data;
}

testAttack("Switch serves other ports beside a front-end that says nothing (F01)", async (lab) => {
  using client = await lab.connect("a");
  await lab.exchange("b", "c");
  ok(await client.probe() > 0n);
});

testAttack("Switch understands messages that come byte by byte (F02)", async (lab) => {
  using client = await lab.connect("a");
  const message = encode(Request.SET_VRING_NUM, 0, ringState(0, 64));
  for (const byte of [...message, ...GET_FEATURES]) {
    await client.send(Uint8Array.of(byte));
    await nextTurn();
  }
  ok(await client.number(Request.GET_FEATURES) > 0n);
});

testAttack(
  "Switch gives up a front-end that begins a message and falls silent (F03)",
  async (lab) => {
    using client = await lab.connect("a");
    await client.send(header(Request.SET_FEATURES, 1, 8));
    await lab.exchange("b", "c");
    await client.end(END_TIMEOUT_MS);
    match((await lab.endReason("a"))!, /begun but not finished in time/);
  },
);

for (const [what, length] of [["header", 5], ["payload", HEADER.size + 3]] as const) {
  testAttack(
    `Switch forgets a front-end that leaves inside the ${what} (F04, F05)`,
    async (lab) => {
      const message = encode(Request.SET_FEATURES, 0, u64(0));
      using client = await lab.connect("a");
      await client.send(message.subarray(0, length));
      await nextTurn();
    },
  );
}

testAttack("Switch disconnects a front-end whose message lacks its payload (F06)", async (lab) => {
  match(await provoke(lab, encode(Request.SET_FEATURES, 0, NOTHING)), /SET_FEATURES has 0 bytes/);
});

testAttack(
  "Switch disconnects a front-end that announces too much, and waits for none of it (F07)",
  async (lab) => {
    for (const size of [MAX_PAYLOAD_BYTES + 1, 2 ** 31, 2 ** 32 - 1]) {
      match(
        await provoke(lab, header(Request.SET_MEM_TABLE, 1, size)),
        new RegExp(`${size} bytes`),
      );
    }
  },
);

testAttack(
  "Switch disconnects a front-end whose message has one byte too few or too many (F08)",
  async (lab) => {
    for (const request of Object.values(Request)) {
      const [fewest, most] = REQUESTS[request].bytes;
      for (const size of [fewest - 1, most + 1].filter((size) => size >= 0)) {
        await provoke(lab, encode(request, 0, new Uint8Array(size)));
      }
    }
  },
);

testAttack("Switch answers several messages of one write in their order (F09)", async (lab) => {
  using client = await lab.connect("a");
  const protocol = encode(Request.GET_PROTOCOL_FEATURES, 0, NOTHING);
  const batch = new Array(40).fill([...GET_FEATURES, ...protocol]).flat();
  await client.send(Uint8Array.from(batch));
  for (let i = 0; i < 40; i++) {
    await client.number(Request.GET_FEATURES);
    await client.number(Request.GET_PROTOCOL_FEATURES);
  }
});

testAttack("Switch refuses unknown requests and keeps the connection (F10)", async (lab) => {
  using client = await (await lab.connect("a")).negotiate();
  for (const request of [0, 21, 46, 2 ** 32 - 1]) {
    strictEqual(await client.ask(request, u64(1)), 1n);
  }
  ok(await client.probe() > 0n);
});

testAttack("Switch disconnects a front-end of another protocol version (F11)", async (lab) => {
  for (const version of [0, 2, 3]) {
    match(await provoke(lab, header(Request.GET_FEATURES, version, 0)), /version/);
  }
});

testAttack("Switch answers a request with reserved flags, without them (F12)", async (lab) => {
  using client = await lab.connect("a");
  await client.send(header(Request.GET_FEATURES, 0xfffffff1, 0));
  strictEqual((await client.reply()).flags, 5);
});

testAttack("Switch disconnects a front-end that replies to nothing (F13)", async (lab) => {
  await provoke(lab, header(Request.GET_FEATURES, 5, 0));
});

testAttack("Switch sends no acknowledgement before REPLY_ACK is negotiated (F14)", async (lab) => {
  using client = await lab.connect("a");
  await client.say(Request.SET_OWNER, NOTHING, { flags: FLAG_NEED_REPLY });
  ok(await client.probe() > 0n);
});

testAttack(
  "Switch serves other ports beside a front-end that never reads, and gives it up (F15)",
  async (lab) => {
    using client = await lab.connect("a");
    await client.fill(GET_FEATURES);
    await lab.exchange("b", "c");
    // On a busy machine a full socket may only mean that the switch had no turn: so it goes on.
    const isOver = () => client.pour(GET_FEATURES) ? null : true;
    await eventually("the switch gives up", isOver, END_TIMEOUT_MS);
    match((await lab.endReason("a"))!, /does not read its replies/);
  },
);

testAttack(
  "Switch forgets a front-end that never read its replies and leaves (F15, F17)",
  async (lab) => {
    using client = await lab.connect("a");
    await client.fill(GET_FEATURES);
  },
);

testAttack("Switch ends a connection that is closed in one direction (F16)", async (lab) => {
  using connection = await Deno.connect({ transport: "unix", path: lab.path("a") });
  await connection.closeWrite();
  strictEqual(await lab.endReason("a"), null);
  strictEqual(await connection.read(new Uint8Array(1)), null);
});

testAttack("Switch survives front-ends that leave while it answers (F17)", async (lab) => {
  for (let i = 0; i < 50; i++) {
    using client = await lab.connect("a");
    for (let n = 0; n < 20; n++) await client.send(GET_FEATURES);
  }
});

testAttack("Switch turns a second front-end away and goes on with the first (F18)", async (lab) => {
  using first = await lab.connect("a");
  ok(await first.probe() > 0n);
  using second = await lab.connect("a");
  await second.end();
  ok(lab.events.some((event) => event.kind === "refused" && event.port === "a"));
  ok(await first.probe() > 0n);
});

testAttack("Switch takes a new front-end when the first has just gone (F18)", async (lab) => {
  const first = await lab.connect("a");
  await first.probe();
  // Both events may be in one batch, in either order.
  first[Symbol.dispose]();
  using second = await lab.connect("a");
  ok(await second.probe() > 0n);
});

testAttack(
  "Switch takes a new front-end when the first has gone and left bytes unread (F18)",
  async (lab) => {
    {
      using first = await lab.connect("a");
      await first.send(GET_FEATURES);
    }
    // Nothing was read yet: both connections and the bytes are found in the same turn or the next.
    using second = await lab.connect("a");
    ok(await second.probe() > 0n);
  },
);

testAttack(
  "Switch holds one of a thousand front-ends that connect at once (F19, F21)",
  async (lab) => {
    const crowd: Fd[] = [];
    const before = countDescriptors();
    for (let i = 0; i < 1000; i++) {
      const socket = tryConnect(lab.path("a"));
      if (socket !== null) crowd.push(socket);
      if (i % 100 === 0) await nextTurn();
    }
    await lab.exchange("b", "c");
    for (const port of ["b", "c"]) await lab.idle(port);
    const held = countDescriptors() - before - crowd.length;
    ok(held <= 1, `the switch holds ${held} of ${crowd.length} connections`);
    for (const socket of crowd) socket.close();
  },
);

testAttack("Switch lets only its own user connect (F22)", async (lab) => {
  strictEqual((await Deno.lstat(lab.path("a"))).mode! & 0o777, 0o600);
});

testAttack("Switch reports a repeated fault in bounded numbers (F99)", async (lab) => {
  using client = await (await lab.connect("a")).negotiate();
  for (let i = 0; i < 1000; i++) await client.ask(Request.SET_VRING_NUM, ringState(0, 3));
  const refused = lab.events.filter(({ kind }) => kind === "request-refused").length;
  ok(refused >= 1 && refused <= 100, `${refused} events`);
});

testAttack("Switch reports rings without memory in bounded numbers (F99)", async (lab) => {
  using client = await (await lab.connect("a")).negotiate();
  await client.ask(Request.SET_VRING_NUM, ringState(0, 16));
  await client.ask(Request.SET_VRING_ADDR, ringAddress(0, { desc: 0n, avail: 0n, used: 0n }));
  for (let i = 0; i < 200; i++) {
    strictEqual(await client.ask(Request.SET_VRING_KICK, u64(0x100)), 1n);
  }
  const reported = lab.events.filter(({ kind }) => kind === "no-memory").length;
  ok(reported >= 1 && reported <= 20, `${reported} events`);
});

testAttack("Switch survives random bytes (F98)", async (lab) => {
  const random = randomBytes(1);
  for (let session = 0; session < 200; session++) {
    using client = await lab.connect("a");
    try {
      // Half of them get past the header's checks.
      const flags = session % 2 === 0 ? 1 : random();
      const message = header(1 + random() % 20, flags, random() % 64);
      await client.send(Uint8Array.from([...message, ...Array.from({ length: 64 }, random)]));
      await nextTurn();
    } catch {
      // Disconnected before everything was sent.
    }
  }
});

testAttack(
  "Switch answers a flood of requests without holding up another port (F97)",
  async (lab) => {
    using client = await lab.connect("a");
    let isOver = false;
    const flood = (async () => {
      while (!isOver) ok(await client.probe() > 0n);
    })();
    await lab.exchange("b", "c");
    isOver = true;
    await flood;
  },
);

Deno.test("Switch leaves no descriptor open when it is closed", async () => {
  const openAndClose = async () => {
    await using lab = await TestLab.open();
    await lab.exchange("a", "b");
  };
  await openAndClose();
  const before = countDescriptors();
  for (let i = 0; i < 5; i++) await openAndClose();
  // The runtime closes what a Worker's thread had some time after the Worker has ended.
  await eventually("every descriptor is closed", () => countDescriptors() <= before || null);
});

function tryConnect(path: string): Fd | null {
  try {
    return connectUnix(path);
  } catch {
    return null;
  }
}

/** Bytes of a linear congruential generator (Numerical Recipes); the same for a seed in every run. */
function randomBytes(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  };
}
