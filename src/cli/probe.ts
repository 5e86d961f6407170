/**
 * `labswitch probe`: what a vhost-user back-end offers and how it behaves.
 *
 * @module
 */
import { resolve } from "node:path";
import { ClientConnector, type Connector, ServerConnector } from "../probe/connector.ts";
import { probe } from "../probe/probe.ts";
import { headingText, offerText, reportJson, resultText, totalText } from "../probe/report.ts";
import { Interrupted, isClean, Unreachable } from "../probe/verdict.ts";
import { EXIT_FAILURE, EXIT_OK } from "./exit_codes.ts";
import type { Io } from "./io.ts";

/** How it is asked for. */
export interface ProbeCommandOptions {
  /** Whether the back-end connects to us. */
  readonly listen?: true;
  /** Whether JSON is printed. */
  readonly json?: true;
  /** How long the back-end may take for each answer, in seconds. */
  readonly timeout: number;
}

/**
 * Probes a back-end and prints what was found out, line by line unless JSON is wanted.
 *
 * @param path The socket.
 * @param options How.
 * @param io Where lines go.
 * @returns The exit code: 0 only if nothing deviates and everything was answered.
 */
export async function probeCommand(
  path: string,
  options: ProbeCommandOptions,
  io: Io,
): Promise<number> {
  const isText = options.json === undefined;
  try {
    using connector = connectorTo(path, options.listen === true);
    using interruption = new Interruption();
    const report = await probe(connector, {
      timeoutMs: options.timeout * 1000,
      signal: interruption.signal,
      onOffer: (offer) => isText && io.out(`${offerText(offer)}\n${headingText()}`),
      onResult: (result) => isText && io.out(resultText(result)),
    });
    io.out(isText ? `\n${totalText(report.results)}` : reportJson(report));
    return isClean(report.results) ? EXIT_OK : EXIT_FAILURE;
  } catch (error) {
    if (!(error instanceof Unreachable || error instanceof Interrupted)) throw error;
    io.err(`error: ${error.message}\n`);
    return EXIT_FAILURE;
  }
}

function connectorTo(path: string, isListening: boolean): Connector {
  return isListening ? new ServerConnector(resolve(path)) : new ClientConnector(path);
}

/** Ctrl-C, which leaves the back-end as a careful front-end does; a second one ends at once. */
class Interruption implements Disposable {
  readonly #controller = new AbortController();
  readonly #onSignal = () => {
    this[Symbol.dispose]();
    this.#controller.abort(new Interrupted("interrupted"));
  };

  constructor() {
    Deno.addSignalListener("SIGINT", this.#onSignal);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    Deno.removeSignalListener("SIGINT", this.#onSignal);
  }
}
