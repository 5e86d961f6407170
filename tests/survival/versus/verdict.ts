/**
 * What can become of a target.
 *
 * @module
 */

/**
 * What became of the target, the worst first.
 *
 * | Verdict | Meaning |
 * | --- | --- |
 * | died | its process ended |
 * | hung | other ports had to wait, while the attacker was there or for ever |
 * | port lost | the attacked port takes no new guest |
 * | leaked | descriptors or mappings stayed |
 * | lost frames | others lost frames |
 * | refused | nothing of all that, but what it was sent is legal and did not work |
 */
export const VERDICTS = [
  "died",
  "hung",
  "port lost",
  "leaked",
  "lost frames",
  "refused",
  "survived",
] as const;

/** What became of the target. */
export type Verdict = typeof VERDICTS[number];

/** What an input did. */
export interface Judgement {
  /** What became of the target. */
  readonly verdict: Verdict;
  /** Why, and how the back-end answered. */
  readonly notes: readonly string[];
}
