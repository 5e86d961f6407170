/**
 * The accessors of copying code: it reads one guest's memory and writes another's.
 *
 * The build joins them with `transfer.wat` and inlines them away.
 */

/** Copies bytes from the sending guest to the receiving one. */
export declare function copy(to: u64, from: u64, length: u64): void;
/** Reads 8 bits of the sending guest. */
export declare function load8(address: u64): u32;
/** Reads 128 bits of the sending guest. */
export declare function load128(address: u64): v128;
/** Writes 128 bits to the receiving guest. */
export declare function store128(address: u64, value: v128): void;
/** Writes 64 bits to the receiving guest. */
export declare function store64(address: u64, value: u64): void;
/** Writes 32 bits to the receiving guest. */
export declare function store32(address: u64, value: u32): void;
/** Writes 16 bits to the receiving guest. */
export declare function store16(address: u64, value: u32): void;
/** Writes 8 bits to the receiving guest. */
export declare function store8(address: u64, value: u32): void;
