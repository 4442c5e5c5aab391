/** Lets the browser draw and answer before more is done. */
export const pause = () => new Promise<void>((resolve) => setTimeout(resolve));
