/** A member of an object that is read. */
export interface JsonMember {
  readonly name: string;
  readonly bytes: Buffer;
  readonly shape: JsonShape;
}

/** What is read of a value. A text, a number and the like always is, a list and an object as far as it says. */
export interface JsonShape {
  readonly members: readonly JsonMember[];
  /** Undefined: a list comes as an empty one. */
  readonly items: JsonShape | undefined;
  /** More items than that are too much; without `items` any number will do. */
  readonly maxItems: number;
}

/** Nothing of lists and objects but that they are there. */
export const SCALAR: JsonShape = { members: [], items: undefined, maxItems: Infinity };

/** The bytes as they stand there, whatever they are. */
export const VERBATIM: JsonShape = { members: [], items: undefined, maxItems: Infinity };

/** These members of an object. */
export function objectOf(members: Readonly<Record<string, JsonShape>>): JsonShape {
  const named = Object.entries(members).map(([name, shape]): JsonMember => {
    return { name, bytes: Buffer.from(name, 'latin1'), shape };
  });
  return { members: named, items: undefined, maxItems: Infinity };
}

/** All items of a list, of which there are `maxItems` at most. */
export function listOf(items: JsonShape, maxItems = Infinity): JsonShape {
  return { members: [], items, maxItems };
}
