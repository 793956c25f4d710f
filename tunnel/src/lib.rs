//! The tunnel from a customer to the container of an order.
