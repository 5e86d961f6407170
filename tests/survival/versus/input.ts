/**
 * An input: what is sent to a back-end that knows nothing of us but its socket.
 *
 * @module
 */
import type { Scene } from "./scene.ts";

/** One bad input. */
export interface Input {
  /** The row of the catalogue. */
  readonly id: string;
  /** What distinguishes it from other inputs of the same row; empty when there is one. */
  readonly variant: string;
  /** Sends it; what it opens belongs to the scene and stays open until the others were looked at. */
  readonly attack: (scene: Scene) => Promise<void>;
  /** Whether no rule is broken, so that it must work; an error then means that it does not. */
  readonly isLegal: boolean;
}

/** An input that breaks a rule. */
export function bad(id: string, attack: Input["attack"], variant = ""): Input {
  return { id, attack, variant, isLegal: false };
}

/** An input that is odd but breaks no rule. */
export function legal(id: string, attack: Input["attack"], variant = ""): Input {
  return { id, attack, variant, isLegal: true };
}
