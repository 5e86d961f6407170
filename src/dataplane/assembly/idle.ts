/**
 * Notifications from the guest: wanted before a Worker sleeps, refused while it polls.
 */
import { RING_F_STARTED, RING_FAULT, RING_FLAGS } from "../state_layout.ts";
import { portAt, portOfRing, ringAt } from "./records.ts";
import { EMPTY, look, refuseKicks, wantKicks } from "./virtqueue.ts";

function isUsable(r: u32): bool {
  return (atomic.load<u32>(r + RING_FLAGS) & RING_F_STARTED) !== 0 &&
    load<u32>(r + RING_FAULT) === 0;
}

/**
 * Asks the guest to kick, then looks once more.
 *
 * Runs on the Worker that polls the ring; does not allocate.
 *
 * @param ring The ring's number.
 * @returns Whether the ring has chains already: then the Worker must not sleep, because the guest
 * may have looked before the wish was there (VIRTIO 1.2, 2.7.10).
 */
export function arm(ring: u32): bool {
  const r = ringAt(ring);
  if (!isUsable(r)) return false;
  const p = portAt(portOfRing(ring));
  wantKicks(p, r);
  return look(p, r) !== EMPTY;
}

/**
 * Asks the guest not to kick while the Worker polls.
 *
 * Runs on the Worker that polls the ring; does not allocate.
 *
 * @param ring The ring's number.
 */
export function disarm(ring: u32): void {
  const r = ringAt(ring);
  if (isUsable(r)) refuseKicks(portAt(portOfRing(ring)), r);
}
