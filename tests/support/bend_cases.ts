/**
 * Ways in which a back-end deviates, each with the checks of the probe that must see it.
 *
 * @module
 */
import { VRING_STATE } from "../../src/vhost_user/layouts.ts";
import { read } from "../../src/vhost_user/message.ts";
import { FLAG_NEED_REPLY, FLAG_REPLY, Request } from "../../src/vhost_user/numbers.ts";
import {
  acknowledges,
  calling,
  deaf,
  forgets,
  goesOn,
  mute,
  onReply,
  packetWith,
  refuses,
  refusesRegions,
  scripted,
  stopsDisabled,
  stopsOnTable,
  tells,
} from "./bends.ts";
import { type Bend, draftOf } from "./bent_backend.ts";
import { ringState, u64 } from "./vhost_messages.ts";

/** A deviation. */
export interface Case {
  /** What the back-end does, for the name of a step. */
  readonly what: string;
  /** Ids of checks that must say so. */
  readonly checks: readonly string[];
  /** What they say. */
  readonly detail: RegExp;
  /** How it does it. */
  readonly bend: () => Bend;
}

/** Every check that needs frames to be taken, and nothing else. */
const FRAMES = [
  ...["split-event-idx", "packed", "packed-event-idx", "mrg-rxbuf", "legacy", "legacy-mrg-rxbuf"]
    .map((id) => `attach-${id}`),
  ...["attach-plain", "chain-split", "chain-packed", "indirect-split", "indirect-packed"],
  ...["reconnect", "receive-packed", "start-without-kick"],
  ...["split", "split-event-idx", "packed", "packed-event-idx"].map((id) => `kick-wanted-${id}`),
];

/** All of them. */
export const CASES: readonly Case[] = [
  {
    what: "offers something else when it is asked again",
    checks: ["features-stable"],
    detail: /^features 0x/,
    bend: () => {
      let questions = 0;
      return tells(Request.GET_FEATURES, (value) => questions++ === 0 ? value : value ^ 1n);
    },
  },
  {
    what: "offers something else on a new connection",
    checks: ["features-reconnect"],
    detail: /^features 0x/,
    bend: () =>
      tells(Request.GET_FEATURES, (value, { number }) => number === 0 ? value : value ^ 1n),
  },
  {
    what: "offers other protocol features on a new connection",
    checks: ["features-reconnect"],
    detail: /^protocol features 0x/,
    bend: () =>
      tells(
        Request.GET_PROTOCOL_FEATURES,
        (value, { number }) => number === 0 ? value : value ^ 1n,
      ),
  },
  {
    what: "has no protocol features",
    checks: ["protocol-features-offered"],
    detail: /^bit 30 is missing$/,
    bend: () => tells(Request.GET_FEATURES, (value) => value & ~(1n << 30n)),
  },
  {
    what: "offers a protocol feature that nobody knows",
    checks: ["protocol-features-known"],
    detail: /^unknown: bit40$/,
    bend: () => tells(Request.GET_PROTOCOL_FEATURES, (value) => value | 1n << 40n),
  },
  {
    what: "refuses what it must take",
    checks: ["reply-ack"],
    detail: /^it refused SET_OWNER with 1$/,
    bend: () => acknowledges((ack) => ({ ...ack, payload: u64(1) })),
  },
  {
    what: "acknowledges another request",
    checks: ["reply-ack"],
    detail: /has the number \d+, not/,
    bend: () => acknowledges((ack) => ({ ...ack, request: ack.request + 1 })),
  },
  {
    what: "leaves the flag of the question in the acknowledgement",
    checks: ["reply-ack"],
    detail: /has flags 0xd, not 0x5/,
    bend: () => acknowledges((ack) => ({ ...ack, flags: FLAG_REPLY | FLAG_NEED_REPLY })),
  },
  {
    what: "acknowledges without a value",
    checks: ["reply-ack"],
    detail: /has 0 bytes, not 8/,
    bend: () => acknowledges((ack) => ({ ...ack, payload: new Uint8Array(0) })),
  },
  {
    what: "has no queue",
    checks: ["queue-pairs"],
    detail: /^0 queue pairs$/,
    bend: () => tells(Request.GET_QUEUE_NUM, () => 0n),
  },
  {
    what: "has too many queues",
    checks: ["queue-pairs"],
    detail: /^18446744073709551615 queue pairs$/,
    bend: () => tells(Request.GET_QUEUE_NUM, () => 0xffff_ffff_ffff_ffffn),
  },
  {
    what: "has no memory slots",
    checks: ["memory-slots"],
    detail: /^0 slots/,
    bend: () => tells(Request.GET_MAX_MEM_SLOTS, () => 0n),
  },
  {
    what: "forgets its status",
    checks: ["status"],
    detail: /^set 0xb and 0, got 0xb, 11$/,
    bend: () => tells(Request.GET_STATUS, () => 0xbn),
  },
  {
    what: "takes no MTU",
    checks: ["mtu"],
    detail: /refused/,
    bend: () => refuses(Request.NET_SET_MTU),
  },
  { what: "never starts a ring", checks: FRAMES, detail: /not taken in/, bend: deaf },
  {
    what: "serves one queue pair of those that it has",
    checks: ["second-pair"],
    detail: /^16 of 112 frames not taken/,
    bend: () => forgets(Request.SET_VRING_KICK, 2),
  },
  {
    what: "gives back a chain that does not exist",
    checks: ["attach-split"],
    detail: /chain 1000: it is not outstanding/,
    bend: () => scripted({ id: () => 1000 }),
  },
  {
    what: "gives back the same chain twice",
    checks: ["attach-split"],
    detail: /it is not outstanding/,
    bend: () => scripted({ id: () => 0 }),
  },
  {
    what: "gives back more than it got",
    checks: ["attach-split"],
    detail: /it is not outstanding/,
    bend: () => scripted({ ahead: 1 }),
  },
  {
    what: "writes into what it may only read",
    checks: ["attach-split"],
    detail: /came back with 5 bytes written/,
    bend: () => scripted({ length: 5 }),
  },
  {
    what: "receives into no buffer",
    checks: ["receive-split", "receive-mrg-rxbuf"],
    detail: /^num_buffers 0/,
    bend: () => scripted({ packet: packetWith({ num_buffers: 0 }) }),
  },
  {
    what: "leaves checksums to a driver that does not do them",
    checks: ["receive-offloads"],
    detail: /^flags 1 and gso_type 0/,
    bend: () => scripted({ packet: packetWith({ flags: 1 }) }),
  },
  {
    what: "goes on to send when it is told not to",
    checks: ["receive-disabled", "receive-stopped"],
    detail: /^\d+ received into a (disabled|stopped) ring$/,
    bend: () => scripted({ packet: packetWith({}) }),
  },
  ...([["split", 2], ["split-event-idx", 1], ["packed", 2], ["packed-event-idx", 3]] as const).map(
    ([id, flags]) => ({
      what: `says about kicks what has no meaning (${id})`,
      checks: [`kick-flags-${id}`],
      detail: new RegExp(`^flags ${flags}, at most`),
      bend: () => scripted({ flags, isPacked: id.startsWith("packed") }),
    }),
  ),
  {
    what: "does not call",
    checks: ["split", "split-event-idx", "packed", "packed-event-idx"].map((id) =>
      `call-wanted-${id}`
    ),
    detail: /^no call in/,
    bend: mute,
  },
  {
    what: "keeps the eventfd that it got first",
    checks: ["call-replaced"],
    detail: /^no call in/,
    bend: () => forgets(Request.SET_VRING_CALL, 2),
  },
  {
    what: "calls whoever does not want it",
    checks: ["split", "split-event-idx", "packed", "packed-event-idx"].map((id) =>
      `call-unwanted-${id}`
    ),
    detail: /^\d+ calls for/,
    bend: calling,
  },
  {
    what: "does not know where a ring stands",
    checks: ["base-split", "base-packed"],
    detail: /after 80 chains, not 0x/,
    bend: () =>
      onReply(Request.GET_VRING_BASE, (message) => {
        const { index, num } = read(VRING_STATE, message);
        return { ...draftOf(message), payload: ringState(index, num ^ 1) };
      }),
  },
  {
    what: "stops another ring",
    checks: ["base-split", "base-packed"],
    detail: /^the base is for ring 7$/,
    bend: () =>
      onReply(Request.GET_VRING_BASE, (message) => ({
        ...draftOf(message),
        payload: ringState(7, read(VRING_STATE, message).num),
      })),
  },
  {
    what: "does not stop",
    checks: ["stop-split", "stop-packed"],
    detail: /^it takes frames from a stopped ring$/,
    bend: goesOn,
  },
  {
    what: "starts a ring only once",
    checks: ["restart-split", "restart-packed"],
    detail: /not taken in/,
    bend: () => forgets(Request.SET_VRING_KICK, 2),
  },
  {
    what: "leaves a disabled ring alone",
    checks: ["disabled-drained"],
    detail: /^16 of 32 frames not taken/,
    bend: stopsDisabled,
  },
  {
    what: "does not enable a ring again",
    checks: ["enabled-again"],
    detail: /^16 of 32 frames not taken/,
    bend: stopsDisabled,
  },
  {
    what: "takes only one region",
    checks: ["second-region", "chain-over-regions", "buffer-over-regions"],
    detail: /refused SET_MEM_TABLE/,
    bend: refusesRegions,
  },
  {
    what: "stops a ring when a second memory table comes",
    checks: ["memory-table-again"],
    detail: /not taken in/,
    bend: stopsOnTable,
  },
  {
    what: "adds no region",
    checks: ["add-region"],
    detail: /refused ADD_MEM_REG/,
    bend: () => refuses(Request.ADD_MEM_REG),
  },
  {
    what: "removes no region",
    checks: ["remove-region"],
    detail: /refused REM_MEM_REG/,
    bend: () => refuses(Request.REM_MEM_REG),
  },
];
