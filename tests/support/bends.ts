/**
 * Ways in which a back-end deviates.
 *
 * @module
 */
import { EventFd, signalEventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { ETHERNET } from "../../src/ethernet/frame.ts";
import { MEMORY_TABLE_HEAD, U64, VRING_STATE } from "../../src/vhost_user/layouts.ts";
import { type Message, payload, read } from "../../src/vhost_user/message.ts";
import { FLAG_REPLY, Request } from "../../src/vhost_user/numbers.ts";
import { VIRTIO_NET_HDR } from "../../src/virtio/layouts.ts";
import { type Bend, type Draft, draftOf, type Link } from "./bent_backend.ts";
import { type DeviceRules, ScriptedDevice } from "./scripted_device.ts";
import { ringState, u64 } from "./vhost_messages.ts";

const TRANSMIT = 1;
const CALL_STORM_MS = 5;

/** Passes a request on, unless it has this number. */
export function onRequest(
  number: number,
  act: (message: Message, link: Link) => Draft | null,
): Bend {
  return {
    request: (message, link) => message.request === number ? act(message, link) : draftOf(message),
  };
}

/** Passes a reply on, unless it has this number. */
export function onReply(number: number, act: (message: Message, link: Link) => Draft | null): Bend {
  return {
    reply: (message, link) => message.request === number ? act(message, link) : draftOf(message),
  };
}

/** Answers a question with another number. */
export function tells(number: number, change: (value: bigint, link: Link) => bigint): Bend {
  return onReply(number, (message, link) => ({
    ...draftOf(message),
    payload: u64(change(read(U64, message).value, link)),
  }));
}

/** Never starts a ring. */
export function deaf(): Bend {
  return onRequest(Request.SET_VRING_KICK, (message, link) => link.swallow(message));
}

/** Needs so much time to start the first rings. */
export function sluggish(delayMs: number, rings: number): Bend {
  let started = 0;
  return onRequest(Request.SET_VRING_KICK, (message, link) => {
    if (started++ >= rings) return draftOf(message);
    const kick = link.resources.use((message.fds[0] as Fd).duplicate());
    const draft = { ...draftOf(message), flags: 0 };
    const timer = setTimeout(() => link.inject(draft, [kick]), delayMs);
    link.resources.defer(() => clearTimeout(timer));
    return link.swallow(message);
  });
}

/** Has a device that breaks the rules of rings. */
export function scripted(rules: DeviceRules): Bend {
  return {
    request: (message, link) => {
      if (message.request === Request.SET_VRING_KICK) return link.swallow(message);
      if (message.request === Request.SET_MEM_TABLE) {
        link.resources.use(new ScriptedDevice(message.fds[0] as Fd, rules));
      }
      return draftOf(message);
    },
  };
}

/** Refuses a request. */
export function refuses(number: number): Bend {
  return onRequest(number, (message, link) => link.swallow(message, 1n));
}

/** Carries a request out so many times on a connection, and claims to do so from then on. */
export function forgets(number: number, after: number): Bend {
  const counts = new Map<Link, number>();
  return onRequest(number, (message, link) => {
    const count = counts.get(link) ?? 0;
    counts.set(link, count + 1);
    return count < after ? draftOf(message) : link.swallow(message);
  });
}

/** Takes no memory table of several regions. */
export function refusesRegions(): Bend {
  return onRequest(Request.SET_MEM_TABLE, (message, link) => {
    const { nregions } = read(MEMORY_TABLE_HEAD, message);
    return nregions === 1 ? draftOf(message) : link.swallow(message, 1n);
  });
}

/** Says that it stops a ring, and does not. */
export function goesOn(): Bend {
  return onRequest(Request.GET_VRING_BASE, (message, link) => {
    link.answer(message.request, ringState(read(VRING_STATE, message).index, 0));
    return null;
  });
}

/** Stops the transmit ring in the place of carrying a request out. */
function stopsOn(isMeant: (message: Message, link: Link) => boolean): Bend {
  const stopping = new Map<Link, number>();
  return {
    request: (message, link) => {
      if (!isMeant(message, link)) return draftOf(message);
      stopping.set(link, message.request);
      link.fds = [];
      return { request: Request.GET_VRING_BASE, flags: 0, payload: ringState(TRANSMIT, 0) };
    },
    reply: (message, link) => {
      const request = stopping.get(link);
      if (message.request !== Request.GET_VRING_BASE || request === undefined) {
        return draftOf(message);
      }
      stopping.delete(link);
      return { request, flags: FLAG_REPLY, payload: u64(0) };
    },
  };
}

/** Stops a ring that is to be disabled. */
export function stopsDisabled(): Bend {
  return stopsOn((message) =>
    message.request === Request.SET_VRING_ENABLE && read(VRING_STATE, message).num === 0
  );
}

/** Stops the transmit ring when a second memory table comes. */
export function stopsOnTable(): Bend {
  const links = new Set<Link>();
  return stopsOn((message, link) => {
    if (message.request !== Request.SET_MEM_TABLE) return false;
    const isSecond = links.has(link);
    links.add(link);
    return isSecond;
  });
}

/** Calls nobody. */
export function mute(): Bend {
  return onRequest(Request.SET_VRING_CALL, (message, link) => {
    link.fds = [link.resources.use(EventFd.create()).fd];
    return draftOf(message);
  });
}

/** Calls all the time. */
export function calling(): Bend {
  return onRequest(Request.SET_VRING_CALL, (message, link) => {
    const call = link.resources.use((message.fds[0] as Fd).duplicate());
    const timer = setInterval(() => signalEventFd(call.number), CALL_STORM_MS);
    link.resources.defer(() => clearInterval(timer));
    return draftOf(message);
  });
}

/** Acknowledges with something else than it should. */
export function acknowledges(change: (ack: Draft) => Draft): Bend {
  const numbers: ReadonlySet<number> = new Set([Request.SET_OWNER, Request.SET_VRING_NUM]);
  return {
    reply: (message) => numbers.has(message.request) ? change(draftOf(message)) : draftOf(message),
  };
}

/** A frame with this header, otherwise as the probe wants it. */
export function packetWith(header: Partial<ReturnType<typeof VIRTIO_NET_HDR.read>>): Uint8Array {
  const zero = VIRTIO_NET_HDR.read(new DataView(new ArrayBuffer(VIRTIO_NET_HDR.size)));
  const packet = new Uint8Array(VIRTIO_NET_HDR.size + ETHERNET.size + 46);
  packet.set(payload(VIRTIO_NET_HDR, { ...zero, num_buffers: 1, ...header }));
  return packet;
}
