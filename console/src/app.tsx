import '@fontsource-variable/inter/wght.css';
import '@mantine/core/styles/baseline.css';
import '@mantine/core/styles/default-css-variables.css';
import '@mantine/core/styles/global.css';
import '@mantine/core/styles/UnstyledButton.css';
import '@mantine/core/styles/Button.css';
import '@mantine/core/styles/Loader.css';
import '@mantine/core/styles/ActionIcon.css';
import '@mantine/core/styles/CloseButton.css';
import '@mantine/core/styles/Input.css';
import '@mantine/core/styles/InlineInput.css';
import '@mantine/core/styles/Checkbox.css';
import '@mantine/core/styles/Radio.css';
import '@mantine/core/styles/Popover.css';
import '@mantine/core/styles/Paper.css';
import '@mantine/core/styles/Overlay.css';
import '@mantine/core/styles/ModalBase.css';
import '@mantine/core/styles/Modal.css';
import '@mantine/core/styles/Skeleton.css';
import './theme.css';

import { Button, MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { startTransition, StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { queryClient } from './api/queries';
import { LoginError } from './auth/login';
import { pause } from './pause';
import { makeRouter, prefetch } from './router';
import { t } from './texts';
import { theme } from './theme';
import { WarnIcon } from './ui/icons';
import { State } from './ui/ui';

function LoginFailed({ error }: { error: unknown }) {
  const problem = error instanceof LoginError ? error.problem : 'unreachable';
  const detail = error instanceof LoginError ? error.detail : null;
  return (
    <main>
      <State icon={<WarnIcon size={32} />} trouble={t.login[problem]} detail={detail} alert isPage>
        <Button onClick={() => window.location.assign('/')}>{t.logInAgain}</Button>
      </State>
    </main>
  );
}

const element = document.getElementById('root');
if (element === null) throw new Error('index.html has no #root');
const root = createRoot(element);

// As a transition, the first page is drawn in small pieces and a slow phone stays responsive.
const show = (page: React.ReactNode) =>
  startTransition(() =>
    root.render(
      <StrictMode>
        {/* Variables come from theme.css, not from a style element that the policy would block. */}
        <MantineProvider
          theme={theme}
          defaultColorScheme="auto"
          withCssVariables={false}
          withGlobalClasses={false}
        >
          <QueryClientProvider client={queryClient}>{page}</QueryClientProvider>
        </MantineProvider>
      </StrictMode>,
    ),
  );

/** Shows the page of the present address. What it will ask for is asked for before it is drawn. */
export const showApp = async () => {
  prefetch(window.location);
  await pause();
  const router = makeRouter();
  // Matched only once it is drawn, the page would be drawn again, and in one piece.
  await router.load();
  show(<RouterProvider router={router} />);
};

/** Shows why nobody could be logged in. */
export const showLoginFailed = (error: unknown) => show(<LoginFailed error={error} />);
