//! How a node ends, and what it does to the others: nothing. And who may hold its connections: nobody, for long.

mod clients;
mod drain;
mod leases;
mod line;
mod rolling;
mod slow_scanner;
