/** Rows in columns, two blanks apart, as wide as what is in them; the last column is not padded. */
export function table(texts: readonly (readonly string[])[]): string {
  // A cell of two lines would look like a row.
  const rows = texts.map((row) => row.map((cell) => cell.replaceAll('\n', String.raw`\n`)));
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
