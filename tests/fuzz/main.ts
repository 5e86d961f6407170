/**
 * Everything that is done to the switch at random, for a long time: `deno task fuzz --help`.
 *
 * @module
 */
import { Command } from "commander";
import { addConversationsCommand } from "./conversation/command.ts";
import { addKillsCommand } from "./kills/command.ts";
import { addRingsCommand } from "./rings_command.ts";

if (import.meta.main) {
  const program = new Command("fuzz").description("Random input for the switch, for a long time.");
  addRingsCommand(program);
  addConversationsCommand(program);
  addKillsCommand(program);
  await program.parseAsync(["deno", "fuzz", ...Deno.args]);
}
