/**
 * Front-ends that send descriptors where none belong, too many, none, or their own socket. Each
 * attack hits port `a` of a running switch; then `b` and `c`, and `a` itself, must work.
 *
 * @module
 */
import { match, ok, strictEqual } from "node:assert/strict";
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { HEADER } from "../../src/vhost_user/layouts.ts";
import { encode } from "../../src/vhost_user/message.ts";
import { FLAG_NEED_REPLY, MAX_PAYLOAD_BYTES, Request } from "../../src/vhost_user/numbers.ts";
import { REQUESTS } from "../../src/vhost_user/requests.ts";
import { nextTurn } from "../support/eventually.ts";
import { countDescriptors } from "../support/leaks.ts";
import { connectLingering } from "../support/lingering_socket.ts";
import { provoke, testAttack } from "../support/test_lab.ts";
import { NOTHING, ringAddress, ringState, u64 } from "../support/vhost_messages.ts";

/** The most descriptors that the kernel passes with one message (SCM_MAX_FD). */
const MOST_DESCRIPTORS = 253;
const EVENTFD_REQUESTS = [
  Request.SET_VRING_KICK,
  Request.SET_VRING_CALL,
  Request.SET_VRING_ERR,
] as const;
/** Longer than anything else takes. */
const LINGER_SECONDS = 10;
const GET_FEATURES = encode(Request.GET_FEATURES, 0, NOTHING);

async function withEventFd(fn: (fd: Fd) => Promise<void>): Promise<void> {
  using event = EventFd.create();
  await fn(event.fd);
}

testAttack(
  "Switch disconnects a front-end that sends descriptors with what takes none (F23)",
  (lab) =>
    withEventFd(async (fd) => {
      for (const request of Object.values(Request)) {
        const { fds, bytes, name } = REQUESTS[request];
        if (fds[1] > 0) continue;
        const reason = await provoke(lab, encode(request, 0, new Uint8Array(bytes[0])), [fd]);
        match(reason, new RegExp(`${name} came with 1 descriptors`));
      }
    }),
);

testAttack(
  "Switch disconnects a front-end that sends 33 or 253 descriptors (F24, F28)",
  (lab) =>
    withEventFd(async (fd) => {
      for (const count of [33, MOST_DESCRIPTORS]) {
        match(await provoke(lab, GET_FEATURES, new Array(count).fill(fd)), /too many descriptors/);
      }
    }),
);

testAttack("Switch disconnects a front-end whose descriptor is missing (F25, F26)", async (lab) => {
  for (const request of EVENTFD_REQUESTS) {
    match(await provoke(lab, encode(request, 0, u64(0))), /0 descriptors, want 1/);
  }
});

testAttack(
  "Switch disconnects a front-end that denies the descriptor it sends (F26)",
  (lab) =>
    withEventFd(async (fd) => {
      const message = encode(Request.SET_VRING_CALL, 0, u64(0x100));
      match(await provoke(lab, message, [fd]), /1 descriptors, want 0/);
    }),
);

testAttack(
  "Switch closes a descriptor that comes with the second part of a message (F29)",
  (lab) =>
    withEventFd(async (fd) => {
      const message = encode(Request.SET_FEATURES, 0, u64(0));
      using client = await lab.connect("a");
      await client.send(message.subarray(0, HEADER.size));
      await client.send(message.subarray(HEADER.size), [fd]);
      await client.end();
    }),
);

testAttack(
  "Switch does not collect the descriptors of an endless stream of message parts (F29)",
  (lab) =>
    withEventFd(async (fd) => {
      const before = countDescriptors();
      using client = await lab.connect("a");
      const message = encode(Request.SET_MEM_TABLE, 0, new Uint8Array(MAX_PAYLOAD_BYTES));
      let most = 0;
      try {
        for (const byte of message.subarray(0, 100)) {
          await client.send(Uint8Array.of(byte), new Array(32).fill(fd));
          await nextTurn();
          most = Math.max(most, countDescriptors() - before);
        }
      } catch {
        // Disconnected in the middle: as it should be.
      }
      ok(most <= 100, `${most} descriptors were collected`);
    }),
);

testAttack(
  "Switch closes the descriptors of an unfinished message when its front-end leaves (F29)",
  (lab) =>
    withEventFd(async (fd) => {
      using client = await lab.connect("a");
      await client.send(GET_FEATURES.subarray(0, 3), new Array(32).fill(fd));
    }),
);

testAttack(
  "Switch serves others while a descriptor that it refused takes its time to be closed (F27)",
  async (lab) => {
    const { socket, peer } = await connectLingering(LINGER_SECONDS);
    using client = await (await lab.connect("a")).negotiate();
    const options = { flags: FLAG_NEED_REPLY, fds: [socket] };
    await client.say(Request.SET_VRING_CALL, u64(0), options);
    // From now on the switch has the last one.
    socket.close();
    let isAnswered = false;
    const answer = client.number(Request.SET_VRING_CALL).finally(() => isAnswered = true);
    await lab.exchange("b", "c");
    strictEqual(isAnswered, false);
    peer.close();
    strictEqual(await answer, 1n);
  },
);

for (const [what, count] of [["that it has not read", 1], ["of too many", 33]] as const) {
  testAttack(
    `Switch serves others while a descriptor ${what} takes its time to be closed (F24, F27)`,
    async (lab) => {
      const { socket, peer } = await connectLingering(LINGER_SECONDS);
      {
        using client = await lab.connect("a");
        // The switch hangs up when it reads this, with the descriptor still in its socket.
        if (count === 1) await client.send(new Uint8Array(HEADER.size));
        await client.send(GET_FEATURES, new Array(count).fill(socket));
        socket.close();
        await lab.exchange("b", "c");
      }
      strictEqual(lab.report("a").state, "connected");
      // The next front-end waits for that.
      using next = await lab.connect("a");
      let isAnswered = false;
      const answer = next.probe().finally(() => isAnswered = true);
      await lab.exchange("b", "c");
      strictEqual(isAnswered, false);
      peer.close();
      ok(await answer > 0n);
    },
  );
}

for (const request of EVENTFD_REQUESTS) {
  const name = REQUESTS[request].name;
  testAttack(
    `Switch forgets a front-end that sent its own socket as ${name} (F30)`,
    async (lab) => {
      using client = await (await lab.connect("a")).negotiate();
      await client.ask(Request.SET_VRING_NUM, ringState(0, 16));
      await client.ask(Request.SET_VRING_ADDR, ringAddress(0, { desc: 0n, avail: 0n, used: 0n }));
      // Kept by the switch, it would keep its own connection alive for ever.
      await client.ask(request, u64(0), [client.socket]);
    },
  );
}
