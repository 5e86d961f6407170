/**
 * What a check is, and what it needs.
 *
 * @module
 */
import { ProtocolError } from "../vhost_user/errors.ts";
import { UsedRingError } from "../virtio/driver_virtqueue.ts";
import type { Session } from "./session.ts";
import { type CheckResult, Deviation, NoAnswer, NotOffered, Unreachable } from "./verdict.ts";

/** A back-end under test. */
export interface Target {
  /**
   * Begins a conversation on a fresh connection; the one before must have ended.
   *
   * @throws {Unreachable | Deviation | NoAnswer | ProtocolError} When nobody talks vhost-user there.
   */
  open(): Promise<Session>;
}

/** One question to a back-end. */
export interface Check {
  /** A short name for programs. */
  readonly id: string;
  /** What is expected, in a few words. */
  readonly title: string;
  /** Where the specification says so. */
  readonly clause: string;
  /**
   * Asks.
   *
   * @returns What was seen, in a few words.
   * @throws {Deviation | UsedRingError | ProtocolError} When the back-end deviates.
   * @throws {NotOffered} When the back-end does not offer what this is about.
   * @throws {NoAnswer | Unreachable} When it does not answer.
   */
  readonly run: (target: Target) => Promise<string>;
}

/**
 * Carries a check out.
 *
 * @returns What came of it; errors that are not about the back-end are thrown.
 */
export async function runCheck(check: Check, target: Target): Promise<CheckResult> {
  const { id, title, clause } = check;
  try {
    return { id, title, clause, verdict: "ok", detail: await check.run(target) };
  } catch (error) {
    const verdict = verdictOf(error);
    if (verdict === null) throw error;
    return { id, title, clause, verdict, detail: (error as Error).message };
  }
}

/** What an error says about a back-end; null when it is not about one. */
export function verdictOf(error: unknown): CheckResult["verdict"] | null {
  if (error instanceof NotOffered) return "not offered";
  if (error instanceof NoAnswer || error instanceof Unreachable) return "no answer";
  const isDeviation = error instanceof Deviation || error instanceof UsedRingError ||
    error instanceof ProtocolError;
  return isDeviation ? "deviates" : null;
}
