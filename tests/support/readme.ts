/**
 * The blocks of code in the README, so that tests can run what it says.
 *
 * @module
 */

const README = new URL("../../README.md", import.meta.url);

/**
 * Reads the blocks of one language.
 *
 * @param language As written behind the fence: `sh`, `yaml`.
 * @returns Their texts in the order of the file.
 */
export function readmeBlocks(language: string): string[] {
  const text = Deno.readTextFileSync(README);
  const fence = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm");
  return [...text.matchAll(fence)].map(([, block]) => block!);
}

/** The lines of all shell blocks, each a command. */
export function readmeCommands(): string[] {
  return readmeBlocks("sh").flatMap((block) => block.trimEnd().split("\n"));
}

/** The flags of Deno that narrow what a switch may do, as the README names them. */
export function readmePermissions(): string[] {
  const flags = /`((?:--allow-\w+ ){2,}--allow-\w+)`/.exec(Deno.readTextFileSync(README));
  return flags === null ? [] : flags[1]!.split(" ");
}
