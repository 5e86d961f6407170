/**
 * The accessors through which ring code reaches guest memory: the only way there is.
 *
 * The build joins them with `guest.wat`, where each is one instruction on the one guest memory that
 * the instance imports, and inlines them away. Addresses are bytes in the port's memory, as made by
 * `translate`. An address outside that memory traps.
 */

/** Reads 16 bits, atomically and before every later access (acquire). `address` is even. */
export declare function loadAtomic16(address: u64): u32;
/** Reads 64 bits, atomically and before every later access (acquire). `address` is a multiple of 8. */
export declare function loadAtomic64(address: u64): u64;
/** Writes 16 bits, atomically, after every earlier access and before every later one. */
export declare function storeAtomic16(address: u64, value: u32): void;
/** Sets bits of a byte, atomically. */
export declare function orAtomic8(address: u64, bits: u32): void;
/** Reads 8 bits. */
export declare function load8(address: u64): u32;
/** Writes 8 bits. */
export declare function store8(address: u64, value: u32): void;
/** Reads 16 bits. */
export declare function load16(address: u64): u32;
/** Writes 16 bits. */
export declare function store16(address: u64, value: u32): void;
/** Reads 32 bits. */
export declare function load32(address: u64): u32;
/** Writes 32 bits. */
export declare function store32(address: u64, value: u32): void;
/** Reads 64 bits. */
export declare function load64(address: u64): u64;
/** Writes 64 bits. */
export declare function store64(address: u64, value: u64): void;
/** Reads 128 bits. */
export declare function load128(address: u64): v128;
