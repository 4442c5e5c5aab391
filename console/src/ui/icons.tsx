import type { ReactNode } from 'react';

/** Line icons on a 20-unit grid; decoration only, the words beside them say it. */
function icon(shape: ReactNode) {
  return function Icon({ size = 18 }: { size?: number }) {
    return (
      <svg
        width={size}
        height={size}
        viewBox="0 0 20 20"
        fill="none"
        stroke="currentColor"
        strokeWidth="1.6"
        strokeLinecap="round"
        strokeLinejoin="round"
        aria-hidden="true"
        focusable="false"
      >
        {shape}
      </svg>
    );
  };
}

export const SearchIcon = icon(
  <>
    <circle cx="9" cy="9" r="5.5" />
    <path d="m13.2 13.2 3.8 3.8" />
  </>,
);
export const CloseIcon = icon(<path d="m5 5 10 10M15 5 5 15" />);
export const DownIcon = icon(<path d="m5.5 8 4.5 4.5L14.5 8" />);
export const LeftIcon = icon(<path d="M12 4.5 6.5 10l5.5 5.5" />);
export const RightIcon = icon(<path d="M8 4.5 13.5 10 8 15.5" />);
export const SunIcon = icon(
  <>
    <circle cx="10" cy="10" r="3.3" />
    <path d="M10 2v1.500M10 16.500V18M2 10h1.500M16.5 10H18M4.4 4.400l1 1M14.6 14.600l1 1M4.4 15.600l1-1M14.6 5.400l1-1" />
  </>,
);
export const MoonIcon = icon(
  <path d="M16.5 11.800A6.8 6.8 0 0 1 8.2 3.500a6.8 6.8 0 1 0 8.3 8.300z" />,
);
export const LeaveIcon = icon(
  <path d="M12.5 6V4a1 1 0 0 0-1-1H5a1 1 0 0 0-1 1v12a1 1 0 0 0 1 1h6.500a1 1 0 0 0 1-1v-2M9 10h8.500M15 7.2 17.8 10 15 12.8" />,
);
export const CopyIcon = icon(
  <>
    <rect x="7" y="7" width="9.5" height="9.5" rx="2" />
    <path d="M13 7V5.500a2 2 0 0 0-2-2H5.500a2 2 0 0 0-2 2V11a2 2 0 0 0 2 2H7" />
  </>,
);
export const CheckIcon = icon(<path d="m4.5 10.5 3.7 3.7 7.3-8" />);
export const WarnIcon = icon(
  <>
    <path d="M10 3 2.5 16.500h15z" />
    <path d="M10 8.300v3.700M10 14.300v.1" />
  </>,
);
export const InfoIcon = icon(
  <>
    <circle cx="10" cy="10" r="7" />
    <path d="M10 9.300v4M10 6.600v.1" />
  </>,
);
export const PeopleIcon = icon(
  <>
    <circle cx="8" cy="7" r="3" />
    <path d="M2.5 16.500c.4-3 2.5-4.7 5.5-4.700s5.1 1.7 5.5 4.700M13.2 4.300a3 3 0 0 1 0 5.400M15 12.300c1.5.7 2.3 2.2 2.5 4.2" />
  </>,
);
export const CalendarIcon = icon(
  <>
    <rect x="3.5" y="4.5" width="13" height="12" rx="2" />
    <path d="M3.5 8.500h13M7 3v3M13 3v3" />
  </>,
);
export const CardIcon = icon(
  <>
    <rect x="2.5" y="4.5" width="15" height="11" rx="2" />
    <path d="M2.5 8.500h15M5.5 12.500h3" />
  </>,
);
