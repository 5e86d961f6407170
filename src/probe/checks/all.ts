/**
 * Every check, in the order in which they are asked.
 *
 * @module
 */
import type { Check } from "../check.ts";
import { ATTACH_CHECKS } from "./attach.ts";
import { MEMORY_CHECKS } from "./memory.ts";
import { NOTIFICATION_CHECKS } from "./notifications.ts";
import { OFFER_CHECKS } from "./offer.ts";
import { RECEIVE_CHECKS } from "./receive.ts";
import { RING_STATE_CHECKS } from "./ring_states.ts";

/** All checks. */
export const CHECKS: readonly Check[] = [
  ...OFFER_CHECKS,
  ...ATTACH_CHECKS,
  ...RECEIVE_CHECKS,
  ...NOTIFICATION_CHECKS,
  ...RING_STATE_CHECKS,
  ...MEMORY_CHECKS,
];
