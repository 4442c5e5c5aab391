import { createTheme } from '@mantine/core';

/** Colours and fonts are in theme.css: the content security policy allows no style elements. */
export const theme = createTheme({
  primaryColor: 'indigo',
  defaultRadius: 'md',
  cursorType: 'pointer',
  respectReducedMotion: true,
});
