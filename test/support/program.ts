/** The built program, to be run by Node. */
export const MAIN = new URL('../../dist/main.js', import.meta.url).pathname;
