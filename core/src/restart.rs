//! Restart intensity of supervisors (OTP terms).
