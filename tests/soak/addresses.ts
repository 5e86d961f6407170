/**
 * Who has which Ethernet address in a soak run.
 *
 * @module
 */
import { stationAddress } from "../support/frames.ts";

/** The hub, which sends frames back and floods. */
export const HUB: string = stationAddress(1);
/** Both ends of the latency pair. */
export const LATENCY = [stationAddress(2), stationAddress(3)] as const;
/** Both ends of the bulk pair. */
export const BULK = [stationAddress(4), stationAddress(5)] as const;

/** Numbers of those who come and go begin here. */
const FIRST_VISITOR = 0x100_0000;
/** How many addresses they have. */
export const VISITORS: number = 0x100_0000;

/** The address of a visitor by number. */
export function visitorAddress(number: number): string {
  return stationAddress(FIRST_VISITOR + number);
}
