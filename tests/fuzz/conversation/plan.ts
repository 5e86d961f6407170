/**
 * What a conversation is made of: steps that say everything but the descriptors themselves, which
 * have names here and become real where the conversation is held.
 *
 * @module
 */

/** Queue pairs of an attacked port. */
export const QUEUE_PAIRS = 2;
/** Rings of an attacked port. */
export const RINGS: number = 2 * QUEUE_PAIRS;

/** Descriptors that every attacker has of its own: the guest's memory, and an eventfd of each kind per ring. */
export type OwnDescriptor = "memory" | `kick${number}` | `call${number}` | "itself";

/** Descriptors that a peer should not send, or that are odd; all attackers share them. */
export const ODD_DESCRIPTORS = [
  "second memory",
  "unsealable memory",
  "read-only memory",
  "write-sealed memory",
  "small memory",
  "empty memory",
  "huge memory",
  "tmpfs memory",
  "file",
  "folder",
  "zero device",
  "null device",
  "pipe",
  "full pipe",
  "socket",
  "epoll set",
  "full eventfd",
  "full waiting eventfd",
  "semaphore",
] as const;

/** The name of a descriptor. */
export type DescriptorName = OwnDescriptor | typeof ODD_DESCRIPTORS[number];

/** Bytes to send, in one piece or in several. */
export interface SendStep {
  readonly kind: "send";
  readonly data: Uint8Array;
  /** Descriptors to send along. */
  readonly fds: readonly DescriptorName[];
  /** Where `data` is cut, ascending. */
  readonly cuts: readonly number[];
  /** The piece that the descriptors go with. */
  readonly fdsWith: number;
}

/** A question that is always answered, and the wait for its answer. */
export interface SyncStep {
  readonly kind: "sync";
  /** Whether the answer, or the end of the connection, must come; otherwise it gets a moment. */
  readonly isCertain: boolean;
  /** How many such questions this connection has heard then, this one included. */
  readonly questions: number;
}

/** One thing that an attacker does. */
export type Step =
  | SendStep
  | SyncStep
  /** Signals the kick eventfd of a ring. */
  | { readonly kind: "kick"; readonly ring: number }
  /** Writes the guest's memory while its rings may run; `at` is an offset in the memory file. */
  | { readonly kind: "poke"; readonly at: number; readonly bytes: Uint8Array }
  /** Gives the switch a moment to work on the rings. */
  | { readonly kind: "rest" }
  /** Connects once more and says something there; that connection stays open to the end. */
  | { readonly kind: "intrude"; readonly data: Uint8Array }
  /** Fills the eventfd that waits when it is full, and lets it wait. */
  | { readonly kind: "trap" }
  /** Hangs up, and connects again at once. */
  | { readonly kind: "reconnect" };

/** A ring whose progress can be seen from outside. */
export interface WatchedRing {
  /** Offset in the memory file of the word that the switch writes when it gives back a chain. */
  readonly at: number;
  /** Its bits that tell. */
  readonly mask: number;
}

/** A whole conversation. */
export interface Conversation {
  readonly steps: readonly Step[];
  /** What the guest's memory holds at the beginning, one region behind the other. */
  readonly memory: Uint8Array;
  /** The transmit queue's sign of life. */
  readonly transmit: WatchedRing;
  /** The receive queue's. */
  readonly receive: WatchedRing;
  /** Whether a memory region may hold the pages around the guest's memory. */
  readonly sharesGuards: boolean;
  /**
   * Whether the attacker's own socket goes to the switch: inside an unfinished message it stays open
   * until the switch gives the message up, and so does the connection, although we have left.
   */
  readonly sharesSocket: boolean;
}
