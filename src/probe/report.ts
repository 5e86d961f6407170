/**
 * What was found out, as text and as JSON.
 *
 * @module
 */
import { featureNames } from "../virtio/features.ts";
import { CHECKS } from "./checks/all.ts";
import type { Offer, ProbeReport } from "./probe.ts";
import { protocolFeatureNames } from "./protocol_features.ts";
import { type CheckResult, isClean, type Verdict } from "./verdict.ts";

const VERDICTS: readonly Verdict[] = ["ok", "deviates", "not offered", "no answer"];
const VERDICT_WIDTH = Math.max(...VERDICTS.map(({ length }) => length));
const TITLE_WIDTH = Math.max(...CHECKS.map(({ title }) => title.length));
const CLAUSE_WIDTH = Math.max(...CHECKS.map(({ clause }) => clause.length));

/** The offer in lines. */
export function offerText(offer: Offer): string {
  const rows = [
    ["features", featureNames(offer.features).join(", ") || "none"],
    ["protocol features", protocolFeatureNames(offer.protocolFeatures).join(", ") || "none"],
    ["queue pairs", offer.queuePairs === null ? "not told" : `${offer.queuePairs}`],
    ["memory slots", offer.memorySlots === null ? "not told" : `${offer.memorySlots}`],
  ];
  const width = Math.max(...rows.map(([name]) => name!.length));
  return rows.map(([name, value]) => `${name!.padEnd(width)}  ${value}\n`).join("");
}

/** The heading of the lines of {@linkcode resultText}. */
export function headingText(): string {
  return line("VERDICT", "CHECK", "CLAUSE", "DETAIL");
}

/** A result in a line, with columns as wide as the longest of all checks. */
export function resultText({ verdict, title, clause, detail }: CheckResult): string {
  return line(verdict, title, clause, detail);
}

/** How many checks came to which verdict. */
export function totalText(results: readonly CheckResult[]): string {
  const counts = VERDICTS.map((verdict) => {
    return `${results.filter((result) => result.verdict === verdict).length} ${verdict}`;
  });
  return `${results.length} checks: ${counts.join(", ")}\n`;
}

/**
 * The offer for programs. Sets of features have 64 bits, which do not fit into a number of JSON: they are
 * text in hexadecimal, and names. Numbers are text for the same reason, or null when they are not told.
 */
export function offerJson(offer: Offer): Readonly<Record<string, unknown>> {
  const { features, protocolFeatures, queuePairs, memorySlots } = offer;
  return {
    features: { bits: hex(features), names: featureNames(features) },
    protocolFeatures: {
      bits: hex(protocolFeatures),
      names: protocolFeatureNames(protocolFeatures),
    },
    queuePairs: queuePairs === null ? null : `${queuePairs}`,
    memorySlots: memorySlots === null ? null : `${memorySlots}`,
  };
}

/** Everything for programs. */
export function reportJson({ offer, results }: ProbeReport): string {
  const json = { offer: offerJson(offer), checks: results, isClean: isClean(results) };
  return `${JSON.stringify(json, null, 2)}\n`;
}

function line(verdict: string, title: string, clause: string, detail: string): string {
  const cells = [verdict.padEnd(VERDICT_WIDTH), title.padEnd(TITLE_WIDTH)];
  return `${[...cells, clause.padEnd(CLAUSE_WIDTH), detail].join("  ").trimEnd()}\n`;
}

function hex(set: bigint): string {
  return `0x${set.toString(16)}`;
}
