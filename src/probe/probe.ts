/**
 * Probes a vhost-user back-end for network devices: what it offers and how it behaves.
 *
 * It is a careful front-end: it sends nothing malformed and nothing whose feature was not negotiated, its
 * rings are what the specification wants, its frames are addressed to itself, and it stops its rings
 * before it hangs up.
 *
 * @module
 */
import {
  Request,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_MQ,
} from "../vhost_user/numbers.ts";
import { ProtocolError } from "../vhost_user/errors.ts";
import { featureSet } from "../virtio/features.ts";
import { runCheck } from "./check.ts";
import { CHECKS } from "./checks/all.ts";
import type { Connector } from "./connector.ts";
import { cannotTalk } from "./first_contact.ts";
import type { Session } from "./session.ts";
import { ReachedTarget } from "./target.ts";
import { warmUp } from "./warm_up.ts";
import { type CheckResult, HungUp, NoAnswer } from "./verdict.ts";

/** What a back-end offers. */
export interface Offer {
  /** Virtio features. */
  readonly features: bigint;
  /** Protocol features. */
  readonly protocolFeatures: bigint;
  /** Queue pairs; null when it does not tell. */
  readonly queuePairs: bigint | null;
  /** Memory slots; null when it does not tell. */
  readonly memorySlots: bigint | null;
}

/** How a back-end is probed. */
export interface ProbeOptions {
  /** How long it may take for each answer. */
  readonly timeoutMs: number;
  /** Ends the probe after the check that runs, by throwing the signal's reason. */
  readonly signal?: AbortSignal;
  /** Told what it offers before the checks begin. */
  readonly onOffer?: (offer: Offer) => void;
  /** Told what came of each check. */
  readonly onResult?: (result: CheckResult) => void;
}

/** All that was found out. */
export interface ProbeReport {
  /** What the back-end offers. */
  readonly offer: Offer;
  /** What came of each check. */
  readonly results: readonly CheckResult[];
}

const NUMBERS = featureSet(VHOST_USER_PROTOCOL_F_MQ, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);

/**
 * Probes a back-end.
 *
 * @param connector How it is reached; stays the caller's.
 * @param options Patience, and whom to tell meanwhile.
 * @returns What was found out.
 * @throws {Unreachable} When nobody speaks vhost-user there; the message says what was met.
 */
export async function probe(connector: Connector, options: ProbeOptions): Promise<ProbeReport> {
  const target = new ReachedTarget(connector, options.timeoutMs);
  try {
    return await probeTarget(target, options);
  } finally {
    // Whoever comes next finds the port free.
    await target.left();
  }
}

async function probeTarget(target: ReachedTarget, options: ProbeOptions): Promise<ProbeReport> {
  const offer = await readOffer(target);
  options.onOffer?.(offer);
  await warmUp(target);
  const results: CheckResult[] = [];
  for (const check of CHECKS) {
    options.signal?.throwIfAborted();
    const result = await runCheck(check, target);
    options.onResult?.(result);
    results.push(result);
  }
  return { offer, results };
}

async function readOffer(target: ReachedTarget): Promise<Offer> {
  using session = await firstContact(target);
  session.negotiateProtocol(NUMBERS);
  const { offered: features, offeredProtocol: protocolFeatures } = session;
  return {
    features,
    protocolFeatures,
    queuePairs: await told(session, VHOST_USER_PROTOCOL_F_MQ, Request.GET_QUEUE_NUM),
    memorySlots: await told(
      session,
      VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
      Request.GET_MAX_MEM_SLOTS,
    ),
  };
}

async function firstContact(target: ReachedTarget): Promise<Session> {
  try {
    return await target.open();
  } catch (error) {
    throw cannotTalk(error) ?? error;
  }
}

// What is wrong with the answer is the affair of a check.
async function told(
  session: Session,
  feature: number,
  request: typeof Request.GET_QUEUE_NUM | typeof Request.GET_MAX_MEM_SLOTS,
): Promise<bigint | null> {
  if (!session.speaks(feature) || session.isBroken) return null;
  try {
    return await session.askNumber(request);
  } catch (error) {
    if (error instanceof HungUp || error instanceof NoAnswer || error instanceof ProtocolError) {
      return null;
    }
    throw error;
  }
}
