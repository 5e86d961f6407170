/**
 * Builds the data plane: AssemblyScript and accessors to WebAssembly modules; and the generator of
 * `labswitch bench`, which is built in the same way.
 *
 * AssemblyScript knows one 32-bit memory: the state memory, or the generator's, which has its rings in
 * it. Guest memory is reached through imported accessors; they are written as WebAssembly text with
 * 64-bit memories, merged into the module and inlined away. The result is committed, so users need no
 * compiler.
 *
 * `deno task build` writes the modules; `deno task build --check` only compares them with a fresh
 * build and exits 1 when a byte differs.
 *
 * @module
 */
import asc from "assemblyscript/asc";
import binaryen from "binaryen";
import { Buffer } from "node:buffer";
import { join, resolve } from "node:path";
import { GENERATOR_PAGES } from "../bench/generator.ts";
import { STATE_PAGES } from "./state.ts";

interface ModuleSource {
  /** Where the module is built; its sources are in `assembly/`. */
  readonly folder: string;
  /** The module's name: the built file, and the entry file unless that is named. */
  readonly name: string;
  /** The entry file. */
  readonly entry?: string;
  /** Another file that is compiled in the place of `virtqueue.ts`. */
  readonly virtqueue?: string;
  /** Pages of the memory that it imports; a module without one is WebAssembly text. */
  readonly pages?: number;
  /** The accessor text, and the module name it is imported under. */
  readonly accessors?: string;
}

const HERE = import.meta.dirname!;
const BENCH = join(HERE, "../bench");
const MODULES: readonly ModuleSource[] = [
  { folder: HERE, name: "ring", pages: STATE_PAGES, accessors: "guest" },
  {
    ...{ folder: HERE, name: "driver", entry: "ring", virtqueue: "driver_virtqueue" },
    ...{ pages: STATE_PAGES, accessors: "guest" },
  },
  { folder: HERE, name: "copy", pages: STATE_PAGES, accessors: "transfer" },
  { folder: HERE, name: "dispatch" },
  { folder: BENCH, name: "generator", pages: GENERATOR_PAGES },
];

if (import.meta.main) {
  const isCheck = Deno.args.includes("--check");
  let differs = false;
  for (const source of MODULES) {
    const built = await build(source);
    const path = `${source.folder}/${source.name}.wasm`;
    if (!isCheck) {
      await Deno.writeFile(path, built);
      console.log(`${source.name}.wasm  ${built.length} bytes`);
    } else if (Buffer.compare(built, await Deno.readFile(path)) !== 0) {
      console.error(`${source.name}.wasm is not what its sources build: run deno task build`);
      differs = true;
    }
  }
  if (differs) Deno.exit(1);
}

async function build(source: ModuleSource): Promise<Uint8Array> {
  const { name, pages, accessors } = source;
  if (pages === undefined) return await assemble(textOf(name));
  const scratch = await Deno.makeTempDir({ prefix: "labswitch-build-" });
  try {
    await compile(source, pages, `${scratch}/main.wasm`);
    if (accessors === undefined) return optimise(await Deno.readFile(`${scratch}/main.wasm`), []);
    const text = textOf(accessors);
    await Deno.writeFile(`${scratch}/accessors.wasm`, await assemble(text));
    await merge(scratch, accessors);
    return optimise(await Deno.readFile(`${scratch}/merged.wasm`), await exportsOf(text));
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

async function compile(source: ModuleSource, pages: number, output: string): Promise<void> {
  const { folder, name, entry = name, virtqueue = "virtqueue" } = source;
  const { error, stderr } = await asc.main([
    `${folder}/assembly/${entry}.ts`,
    ...["--outFile", output, "--runtime", "stub", "--noAssert", "-O3", "--converge"],
    ...["--importMemory", "--sharedMemory", "--enable", "threads,simd,bulk-memory"],
    ...["--initialMemory", `${pages}`, "--maximumMemory", `${pages}`],
  ], {
    readFile: (file, base) =>
      readText(resolve(base, file.replace(/\/virtqueue\.ts$/, `/${virtqueue}.ts`))),
  });
  if (error !== null) throw new Error(`Cannot compile ${name}: ${stderr}`);
}

// Null for a file that is not there: the compiler tries several names.
async function readText(path: string): Promise<string | null> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function textOf(name: string): string {
  return `${HERE}/assembly/${name}.wat`;
}

async function assemble(path: string): Promise<Uint8Array> {
  const module = binaryen.parseText(await Deno.readTextFile(path));
  module.setFeatures(binaryen.Features.All);
  const built = module.emitBinary();
  module.dispose();
  return built;
}

// wasm-merge exists only as a command of the package, written for CommonJS.
async function merge(folder: string, accessors: string): Promise<void> {
  const script = `${folder}/wasm-merge.cjs`;
  const tool = new URL("./bin/wasm-merge", import.meta.resolve("binaryen"));
  await Deno.copyFile(tool, script);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--allow-all", "--no-config", script, "--all-features"],
      ...[`${folder}/main.wasm`, "main", `${folder}/accessors.wasm`, accessors],
      ...["-o", `${folder}/merged.wasm`],
    ],
  }).output();
  if (!success) throw new Error(`Cannot merge: ${new TextDecoder().decode(stderr)}`);
}

async function exportsOf(path: string): Promise<string[]> {
  const text = await Deno.readTextFile(path);
  return Array.from(text.matchAll(/\(export "(\w+)"\)/g), ([, name]) => name!);
}

function optimise(bytes: Uint8Array, hidden: readonly string[]): Uint8Array {
  const module = binaryen.readBinary(bytes);
  module.setFeatures(binaryen.Features.All);
  for (const name of hidden) module.removeExport(name);
  binaryen.setOptimizeLevel(3);
  binaryen.setShrinkLevel(0);
  // The functions of the hot path are small and few: calls between them cost more than their code.
  binaryen.setAlwaysInlineMaxSize(40);
  binaryen.setFlexibleInlineMaxSize(120);
  binaryen.setOneCallerInlineMaxSize(2000);
  module.optimize();
  module.optimize();
  const built = module.emitBinary();
  module.dispose();
  return built;
}
