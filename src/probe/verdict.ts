/**
 * What a check can say about a back-end, and how it says so.
 *
 * @module
 */

/**
 * `ok`: as the specification has it. `deviates`: not so. `not offered`: the back-end lacks what the check
 * is about, which is its right. `no answer`: it was silent for too long, so nothing can be said.
 */
export type Verdict = "ok" | "deviates" | "not offered" | "no answer";

/** What came of a check. */
export interface CheckResult {
  /** A short name for programs. */
  readonly id: string;
  /** What is expected of the back-end, in a few words. */
  readonly title: string;
  /** Where the specification says so. */
  readonly clause: string;
  /** What came of it. */
  readonly verdict: Verdict;
  /** What was seen, in a few words. */
  readonly detail: string;
}

/** The back-end does something else than the specification wants. */
export class Deviation extends Error {
  override readonly name: string = "Deviation";
}

/** The back-end has ended the connection, although it was asked for nothing wrong. */
export class HungUp extends Deviation {
  override readonly name = "HungUp";

  /** @param when What it was asked for last. */
  constructor(when: string) {
    super(`it hung up at ${when}`);
  }
}

/** The back-end does not offer what a check needs. */
export class NotOffered extends Error {
  override readonly name = "NotOffered";
}

/** The back-end does not say anything. */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";

  /**
   * @param to What it should answer.
   * @param timeoutMs How long it had.
   */
  constructor(to: string, timeoutMs: number) {
    super(`no answer to ${to} in ${timeoutMs} ms`);
  }
}

/** There is nobody to talk to, or nobody who speaks vhost-user; the message is for the user. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

/** The user does not want to wait for the rest. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** Whether no check found anything wrong: nothing deviates, and everything was answered. */
export function isClean(results: readonly Pick<CheckResult, "verdict">[]): boolean {
  return results.every(({ verdict }) => verdict === "ok" || verdict === "not offered");
}
