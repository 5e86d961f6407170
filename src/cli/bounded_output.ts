/**
 * Output of a program that must go on whatever becomes of its reader.
 *
 * Text is queued and written beside the main thread, so a reader that has stopped holds up nobody.
 * What no longer fits is thrown away and counted; so is what cannot be written, on a full disk for
 * example. When it works again, a line in the place of the lost ones tells how many they were.
 *
 * @module
 */

/** Writes bytes, without blocking this thread; resolves with how many were written, at least one. */
export type WriteBytes = (data: Uint8Array) => Promise<number>;

/** Text that waits for a reader: some thousand lines. */
const MAX_WAITING_CHARACTERS = 256 * 1024;
/** How long to wait for a descriptor that somebody else has made non-blocking and that takes nothing. */
const RETRY_MS = 50;

/** A stream of lines that never waits. */
export class BoundedOutput {
  readonly #write: WriteBytes;
  readonly #maxWaiting: number;
  #waiting = "";
  /** Lines lost before what waits. */
  #lostBefore = 0;
  /** Lines lost after what waits. */
  #lostAfter = 0;
  #pumping: Promise<void> | null = null;

  /**
   * @param write Takes the bytes.
   * @param maxWaiting Characters that may wait.
   */
  constructor(write: WriteBytes, maxWaiting: number = MAX_WAITING_CHARACTERS) {
    this.#write = write;
    this.#maxWaiting = maxWaiting;
  }

  /** Writes whole lines as soon as possible, or counts them as lost. */
  write(text: string): void {
    if (text === "") return;
    // Behind a gap nothing follows before the gap has been told of.
    if (this.#lostAfter > 0 || this.#waiting.length + text.length > this.#maxWaiting) {
      this.#lostAfter += countLines(text);
    } else {
      this.#waiting += text;
    }
    this.#pumping ??= this.#pump();
  }

  /**
   * Waits until everything is written, or failed, or the time is over.
   *
   * @param timeoutMs How long at most.
   */
  async flush(timeoutMs: number): Promise<void> {
    if (this.#pumping === null) return;
    const timer = Promise.withResolvers<void>();
    const handle = setTimeout(timer.resolve, timeoutMs);
    await Promise.race([this.#pumping, timer.promise]);
    clearTimeout(handle);
  }

  async #pump(): Promise<void> {
    while (this.#waiting !== "" || this.#lostAfter > 0) {
      if (this.#waiting === "") this.#nextIsGap();
      const text = this.#waiting;
      this.#waiting = "";
      if (!await this.#writeAll(lossNotice(this.#lostBefore) + text)) {
        // The next text tries again.
        this.#lose(text);
        break;
      }
      this.#lostBefore = 0;
    }
    this.#pumping = null;
  }

  #nextIsGap(): void {
    this.#lostBefore += this.#lostAfter;
    this.#lostAfter = 0;
  }

  #lose(text: string): void {
    this.#lostBefore += countLines(text + this.#waiting);
    this.#waiting = "";
    this.#nextIsGap();
  }

  // Returns whether all was written.
  async #writeAll(text: string): Promise<boolean> {
    const data = new TextEncoder().encode(text);
    for (let done = 0; done < data.length;) {
      try {
        done += await this.#write(data.subarray(done));
      } catch (error) {
        if (!(error instanceof Deno.errors.WouldBlock)) return false;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
    return true;
  }
}

function lossNotice(lines: number): string {
  if (lines === 0) return "";
  const what = lines === 1 ? "1 line is" : `${lines} lines are`;
  return `(${what} missing here: writing was not possible)\n`;
}

function countLines(text: string): number {
  return text.split("\n").length - 1;
}
