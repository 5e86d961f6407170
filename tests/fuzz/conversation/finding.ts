/**
 * What a conversation should not be able to cause.
 *
 * @module
 */

/** The switch did not survive, or somebody else noticed. */
export class Finding extends Error {
  override readonly name = "Finding";
}
