"""A sample CRM for demonstrations: a carpet and upholstery cleaning company's customers and what they may buy."""

from models.crm_sample.load import SampleCounts, load_sample

__all__ = ["SampleCounts", "load_sample"]
